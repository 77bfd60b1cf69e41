// `hull cp`.

#ifndef VMM_CLI_COPY_COMMAND_H_
#define VMM_CLI_COPY_COMMAND_H_

#include <string>
#include <vector>

namespace hull::cli {

// `args` is what follows the verb. Returns the exit status.
int CopyCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_COPY_COMMAND_H_
