// Runs hull-unpack and reads what it says.

#ifndef IMAGES_UNPACK_CLIENT_H_
#define IMAGES_UNPACK_CLIENT_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "images/unpack_program.h"
#include "nlohmann/json.hpp"

namespace hull::images {

struct UnpackCommand {
  UnpackProgram program;
  std::vector<std::string> arguments;
  // (descriptor here, number there). The program gets these, /dev/null as standard input, a pipe
  // as standard output, our standard error, and nothing else.
  std::vector<std::pair<int, int>> descriptors;
  // When this becomes readable, the program is killed and kCancelled returned. -1: never.
  int cancel_fd = -1;
  std::function<void(const nlohmann::json&)> progress;
};

// Runs one step to its end and returns the "result" object. The program's own error comes back as
// it is; kInternal if it breaks the protocol or dies, kCancelled if it was interrupted. When this
// returns, the program has ended.
absl::StatusOr<nlohmann::json> RunUnpack(const UnpackCommand& command);

}  // namespace hull::images

#endif  // IMAGES_UNPACK_CLIENT_H_
