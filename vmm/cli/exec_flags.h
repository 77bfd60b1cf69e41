// The command line of `hull exec`.

#ifndef VMM_CLI_EXEC_FLAGS_H_
#define VMM_CLI_EXEC_FLAGS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "vmm/container/detach_keys.h"

namespace hull::cli {

struct ExecFlags {
  std::string help;  // not empty: the user asked for this text, and nothing else is set
  bool interactive = false;
  bool terminal = false;
  bool detach = false;
  std::vector<std::string> env;
  std::vector<std::string> env_files;
  std::string working_directory;  // empty: the container's
  std::string user;               // empty: the container's
  container::DetachKeys detach_keys;
  std::string container;
  std::vector<std::string> command;
};

// `args` is what follows "exec". kInvalidArgument, fit for the user, for an unknown flag, a bad
// value, no container or no command.
absl::StatusOr<ExecFlags> ParseExecFlags(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_EXEC_FLAGS_H_
