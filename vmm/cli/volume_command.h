// `hull volume`.

#ifndef VMM_CLI_VOLUME_COMMAND_H_
#define VMM_CLI_VOLUME_COMMAND_H_

#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb. Returns the exit status.
int VolumeCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_VOLUME_COMMAND_H_
