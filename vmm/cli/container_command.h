// `hull container VERB`: the verbs about containers, and prune and exists.

#ifndef VMM_CLI_CONTAINER_COMMAND_H_
#define VMM_CLI_CONTAINER_COMMAND_H_

#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb. Returns the exit status.
int ContainerCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_CONTAINER_COMMAND_H_
