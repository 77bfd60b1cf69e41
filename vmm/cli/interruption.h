// The signals of a user who wants an end, held back so that they end no half-made container.

#ifndef VMM_CLI_INTERRUPTION_H_
#define VMM_CLI_INTERRUPTION_H_

#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"

namespace hull::cli {

// Until the container has a client that passes signals on, this is what sees them.
class Interruption {
 public:
  // Blocks container::ForwardedSignals(), for the rest of this process.
  static absl::StatusOr<Interruption> Create();

  // Becomes readable when there is one.
  int fd() const { return fd_.get(); }
  // The signal, if there was one.
  std::optional<int> Take() const;

 private:
  explicit Interruption(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace hull::cli

#endif  // VMM_CLI_INTERRUPTION_H_
