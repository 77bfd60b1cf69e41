// `hull pause` and `hull unpause`.

#ifndef VMM_CLI_PAUSE_COMMAND_H_
#define VMM_CLI_PAUSE_COMMAND_H_

#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb. Return the exit status.
int PauseCommand(const std::vector<std::string>& args);
int UnpauseCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_PAUSE_COMMAND_H_
