// Displays of containers that are pc machines: `hull run --display` and the program hull-display.

#ifndef VMM_CLI_DISPLAYS_H_
#define VMM_CLI_DISPLAYS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/run_flags.h"
#include "vmm/container/config.h"
#include "vmm/container/container_store.h"

namespace hull::cli {

// What the display of a container that is about to start needs of the host.
struct DisplaySocket {
  UniqueFd listener = {};  // none: it has no display
  std::string password = {};
};

// Whether the flags make sense for a container of that configuration, which they complete.
// kInvalidArgument, fit for the user.
absl::Status CompleteDisplayConfig(const RunFlags& flags, container::Config* config);

// Listens for the container's display, if it is to have one: sets the port in `config` that was
// chosen. kAlreadyExists if somebody else listens there; kInvalidArgument for a bad password file.
absl::StatusOr<DisplaySocket> OpenDisplay(container::Config* config);

// The same for a container that may have had a display a moment ago, which is waited for.
absl::StatusOr<DisplaySocket> ReopenDisplay(container::Config* config);

// Starts hull-display for a container whose monitor was started, and says where it listens. That it
// cannot be is told, and the container goes on without.
void StartDisplay(const Installation& installation, const container::Config& config,
                  container::ContainerStore* store, DisplaySocket socket);

// kInvalidArgument if the command is to run in the emulated host, whose ports nobody here reaches.
absl::Status CheckDisplayPlace(const RunFlags& flags);

// "127.0.0.1:5900->vnc"; empty without a display.
std::string DisplayPort(const container::Config& config);

}  // namespace hull::cli

#endif  // VMM_CLI_DISPLAYS_H_
