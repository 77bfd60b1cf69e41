// `hull load` and `hull save`.

#ifndef VMM_CLI_IMAGE_TRANSFER_COMMANDS_H_
#define VMM_CLI_IMAGE_TRANSFER_COMMANDS_H_

#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb. Return the exit status.
int LoadCommand(const std::vector<std::string>& args);
int SaveCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_IMAGE_TRANSFER_COMMANDS_H_
