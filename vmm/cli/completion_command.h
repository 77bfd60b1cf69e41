// `hull completion SHELL` prints what a shell needs to complete hull's command lines, and `hull
// __complete WORD...` is what that calls for each.

#ifndef VMM_CLI_COMPLETION_COMMAND_H_
#define VMM_CLI_COMPLETION_COMMAND_H_

#include <functional>
#include <string>
#include <vector>

namespace hull::cli {

int CompletionCommand(const std::vector<std::string>& args);

// Prints the candidates for the last of `words`, a line each. Always 0, and without a message:
// whoever types has no use for one. Names in the emulated host are among them if that runs; it is
// never started. `verbs`: those to offer. `run` runs `hull args...` in a process of its own.
int PrintCandidates(const std::vector<std::string>& words, std::vector<std::string> verbs,
                    const std::function<int(const std::vector<std::string>& args)>& run);

}  // namespace hull::cli

#endif  // VMM_CLI_COMPLETION_COMMAND_H_
