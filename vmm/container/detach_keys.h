// The keys with which a user leaves a container's terminal without ending the container.

#ifndef VMM_CONTAINER_DETACH_KEYS_H_
#define VMM_CONTAINER_DETACH_KEYS_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::container {

// Podman's default.
inline constexpr char kDefaultDetachKeys[] = "ctrl-p,ctrl-q";

// Finds the sequence in what is typed. A beginning of it is held back until it is clear that it
// goes on otherwise. Not thread-safe.
class DetachKeys {
 public:
  // No sequence: nothing detaches.
  DetachKeys() = default;
  // `text` is podman's --detach-keys: keys with commas between, each one character or "ctrl-" and
  // one of a-z @ [ \ ] ^ _; empty for none. kInvalidArgument, fit for the user, for anything else.
  static absl::StatusOr<DetachKeys> Parse(absl::string_view text);

  struct Typed {
    std::string bytes;    // for the container
    bool detach = false;  // what came after the sequence is dropped
  };
  Typed Filter(absl::string_view typed);

  size_t length() const { return sequence_.size(); }

 private:
  explicit DetachKeys(std::string sequence) : sequence_(std::move(sequence)) {}

  std::string sequence_;
  size_t matched_ = 0;  // bytes of it that were typed last
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_DETACH_KEYS_H_
