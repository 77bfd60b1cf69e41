// `hull run` and `hull create`.

#ifndef VMM_CLI_RUN_COMMAND_H_
#define VMM_CLI_RUN_COMMAND_H_

#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb. Return the exit status.
int RunCommand(const std::vector<std::string>& args);
int CreateCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_RUN_COMMAND_H_
