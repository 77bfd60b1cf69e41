// What the verbs with few flags have in common.

#ifndef VMM_CLI_COMMAND_LINE_H_
#define VMM_CLI_COMMAND_LINE_H_

#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"

namespace hull::cli {

// Parses what follows the verb. If the command is done with that (--help, or an error, which is
// printed): its exit status.
std::optional<int> ParseCommandLine(CLI::App* app, std::vector<std::string> args);

}  // namespace hull::cli

#endif  // VMM_CLI_COMMAND_LINE_H_
