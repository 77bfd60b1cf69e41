// The verbs that remove what nobody uses: `hull container prune` and `hull system prune`.

#ifndef VMM_CLI_PRUNE_COMMANDS_H_
#define VMM_CLI_PRUNE_COMMANDS_H_

#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb. Return the exit status.
int PruneContainersCommand(const std::vector<std::string>& args);
// `hull system VERB`: prune, info.
int SystemCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_PRUNE_COMMANDS_H_
