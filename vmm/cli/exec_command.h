// `hull exec`.

#ifndef VMM_CLI_EXEC_COMMAND_H_
#define VMM_CLI_EXEC_COMMAND_H_

#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb; returns the exit status.
int ExecCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_EXEC_COMMAND_H_
