// The verbs that start existing containers and attach to them.

#ifndef VMM_CLI_START_COMMAND_H_
#define VMM_CLI_START_COMMAND_H_

#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb. Return the exit status.
int StartCommand(const std::vector<std::string>& args);
int AttachCommand(const std::vector<std::string>& args);
int RestartCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_START_COMMAND_H_
