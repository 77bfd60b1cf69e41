// Starts containers' monitors, and is the verb that they run as.

#ifndef VMM_CLI_MONITOR_COMMAND_H_
#define VMM_CLI_MONITOR_COMMAND_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/interruption.h"
#include "vmm/container/attach_client.h"
#include "vmm/container/config.h"
#include "vmm/container/container_store.h"
#include "vmm/container/monitor.h"
#include "vmm/container/outcome.h"

namespace hull::cli {

struct StartedMonitor {
  pid_t pid = 0;
  UniqueFd socket;  // the client's end (container/attach_protocol.h)
  UniqueFd errors;  // its standard error: what it says if it dies; does not block
};

// `lock` is the container's.
absl::StatusOr<StartedMonitor> StartMonitor(const Installation& installation,
                                            const container::Config& config, UniqueFd lock,
                                            container::ClientMode mode);

// Passes this process's standard streams and signals until the container has ended, or the user has
// left it. Of a monitor that died without telling how, the error says so.
absl::StatusOr<container::Outcome> AttachToStarted(StartedMonitor monitor,
                                                   const container::Config& config,
                                                   container::ContainerStore* store,
                                                   const container::AttachOptions& options);

// Waits until the container's process runs: nothing then, and the container is left to itself. If
// it ends before, how it ended.
absl::StatusOr<std::optional<container::Outcome>> AwaitStart(StartedMonitor monitor,
                                                             const container::Config& config,
                                                             container::ContainerStore* store,
                                                             const Interruption& interruption);

// Hidden: hull monitor ID ROOT RUN LIBEXEC SHARE USERS MODE, with the container's lock as
// descriptor 3 and the client's socket as descriptor 4.
int MonitorCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_MONITOR_COMMAND_H_
