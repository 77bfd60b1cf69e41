// `hull info`.

#ifndef VMM_CLI_INFO_COMMAND_H_
#define VMM_CLI_INFO_COMMAND_H_

#include <string>
#include <vector>

namespace hull::cli {

// What this machine is to Hull, and whether it keeps its part of the threat model. `args` is what
// follows the verb. Returns the exit status.
int InfoCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_INFO_COMMAND_H_
