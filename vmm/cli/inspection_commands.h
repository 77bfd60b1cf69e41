// `hull top` and `hull stats`: what runs in containers, and what they use.

#ifndef VMM_CLI_INSPECTION_COMMANDS_H_
#define VMM_CLI_INSPECTION_COMMANDS_H_

#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb; each returns the exit status.
int TopCommand(const std::vector<std::string>& args);
int StatsCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_INSPECTION_COMMANDS_H_
