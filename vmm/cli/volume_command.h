// `hull volume`.

#ifndef VMM_CLI_VOLUME_COMMAND_H_
#define VMM_CLI_VOLUME_COMMAND_H_

#include <string>
#include <vector>

#include "vmm/cli/installation.h"
#include "vmm/container/volume_store.h"

namespace hull::cli {

// Removes the volumes that no container has. What fails is told and noted in `status`.
std::vector<container::Volume> PruneVolumes(const Installation& installation, int* status);

// `args` is what follows the verb. Returns the exit status.
int VolumeCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_VOLUME_COMMAND_H_
