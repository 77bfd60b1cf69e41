// The flags before a command that has flags of its own.

#ifndef VMM_CLI_FLAG_PREFIX_H_
#define VMM_CLI_FLAG_PREFIX_H_

#include <cstddef>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::cli {

// Takes the flags off the front of `args`, each value as an argument of its own ("--name=x" becomes
// "--name" "x", "-ie" becomes "-i" "-e"). `*taken`: how many of `args` they were. CLI11 alone
// neither stops at the first argument that is no flag and still refuses unknown flags, nor takes
// "--name=" for an empty value. kInvalidArgument, fit for the user, for a flag that `app` does not
// have or whose value is missing; `verb` is for the message.
absl::StatusOr<std::vector<std::string>> TakeFlags(const CLI::App& app,
                                                   const std::vector<std::string>& args,
                                                   absl::string_view verb, size_t* taken);

}  // namespace hull::cli

#endif  // VMM_CLI_FLAG_PREFIX_H_
