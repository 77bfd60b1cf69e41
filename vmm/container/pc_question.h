// What a command asks a container that is a pc machine: its screen, and to type on its keyboard.

#ifndef VMM_CONTAINER_PC_QUESTION_H_
#define VMM_CONTAINER_PC_QUESTION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "vmm/container/keys.h"
#include "vmm/container/screen.h"

namespace hull::container {

struct Picture {
  uint32_t width = 0;
  uint32_t height = 0;
  std::string rgb = {};  // row by row, red, green and blue of each pixel
};

// All take a connection to the monitor of a container that runs, and block for at most `timeout`
// for each answer (kDeadlineExceeded). kFailedPrecondition if the container ends meanwhile;
// kInvalidArgument if the machine answers with nonsense.
absl::StatusOr<TextScreen> AskForScreen(int socket, absl::Duration timeout);
absl::StatusOr<Picture> AskForPicture(int socket, absl::Duration timeout);
// Types each key once the machine has taken the one before, with a pause of `delay` between two.
// kDeadlineExceeded if it takes nothing for `timeout`.
absl::Status TypeKeys(int socket, const std::vector<KeyStroke>& strokes, absl::Duration delay,
                      absl::Duration timeout);

}  // namespace hull::container

#endif  // VMM_CONTAINER_PC_QUESTION_H_
