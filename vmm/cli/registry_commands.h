// `hull pull`, `push`, `login` and `logout`: skopeo does the talking, the store the rest.

#ifndef VMM_CLI_REGISTRY_COMMANDS_H_
#define VMM_CLI_REGISTRY_COMMANDS_H_

#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb. Return the exit status.
int PullCommand(const std::vector<std::string>& args);
int PushCommand(const std::vector<std::string>& args);
int LoginCommand(const std::vector<std::string>& args);
int LogoutCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_REGISTRY_COMMANDS_H_
