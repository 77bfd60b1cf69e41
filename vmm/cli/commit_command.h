// hull commit.

#ifndef VMM_CLI_COMMIT_COMMAND_H_
#define VMM_CLI_COMMIT_COMMAND_H_

#include <string>
#include <vector>

namespace hull::cli {

int CommitCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_COMMIT_COMMAND_H_
