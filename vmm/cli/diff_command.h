// `hull diff` and `hull export`: what a container has written, and all that it has.

#ifndef VMM_CLI_DIFF_COMMAND_H_
#define VMM_CLI_DIFF_COMMAND_H_

#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb. Return the exit status.
int DiffCommand(const std::vector<std::string>& args);
int ExportCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_DIFF_COMMAND_H_
