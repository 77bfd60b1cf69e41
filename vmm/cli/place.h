// Whether a command runs here or in the emulated host.

#ifndef VMM_CLI_PLACE_H_
#define VMM_CLI_PLACE_H_

#include <optional>
#include <string>
#include <vector>

#include "vmm/cli/installation.h"

namespace hull::cli {

enum class Needs {
  kKvm,    // a container will run
  kStore,  // only images and containers are looked at
};

// If the command has to run in the emulated host: runs `hull args...` there and returns its exit
// status, or ends this process by the signal that ended it. Nothing if it runs here.
std::optional<int> RunElsewhere(const Installation& installation, Needs needs,
                                const std::vector<std::string>& args, bool forward_stdin);

}  // namespace hull::cli

#endif  // VMM_CLI_PLACE_H_
