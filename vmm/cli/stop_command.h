// The verbs that end containers: stop, kill, wait and rm; and rename.

#ifndef VMM_CLI_STOP_COMMAND_H_
#define VMM_CLI_STOP_COMMAND_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "vmm/cli/containers.h"
#include "vmm/container/container_store.h"

namespace hull::cli {

// Stops containers at the same time: each gets its stop signal, and is killed if it has not ended
// within `timeout`, or its own if there is none. Those that do not run are left as they are. The
// results are in the order of `containers`.
std::vector<absl::Status> StopContainers(container::ContainerStore* store,
                                         const std::vector<Named>& containers,
                                         std::optional<absl::Duration> timeout);

// Removes a container, with `force` also one that runs, which is killed: otherwise that is
// kFailedPrecondition. One that is gone meanwhile is no error.
absl::Status RemoveContainer(container::ContainerStore* store, const Named& container, bool force);

// `args` is what follows the verb. Return the exit status.
int StopCommand(const std::vector<std::string>& args);
int KillCommand(const std::vector<std::string>& args);
int WaitCommand(const std::vector<std::string>& args);
int RmCommand(const std::vector<std::string>& args);
int RenameCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_STOP_COMMAND_H_
