// `hull run`, and `hull monitor`, which it starts.

#ifndef VMM_CLI_RUN_COMMAND_H_
#define VMM_CLI_RUN_COMMAND_H_

#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb. Return the exit status.
int RunCommand(const std::vector<std::string>& args);

// Hidden: hull monitor ID ROOT RUN LIBEXEC SHARE, with the container's lock as descriptor 3 and the
// client's socket as descriptor 4.
int MonitorCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_RUN_COMMAND_H_
