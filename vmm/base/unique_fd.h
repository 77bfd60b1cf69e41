// An owned file descriptor.

#ifndef VMM_BASE_UNIQUE_FD_H_
#define VMM_BASE_UNIQUE_FD_H_

#include <sys/types.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hull {

// Move-only owner of a descriptor; closes it on destruction. Every factory here sets O_CLOEXEC.
// Not thread-safe (the descriptor itself may be used from any thread).
class UniqueFd {
 public:
  UniqueFd() = default;
  // Takes ownership of `fd`; -1 means empty.
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { Reset(); }

  // open(2) with O_CLOEXEC. Errors name the path.
  static absl::StatusOr<UniqueFd> Open(const std::string& path, int flags, mode_t mode = 0);
  // openat(2) with O_CLOEXEC.
  static absl::StatusOr<UniqueFd> OpenAt(int dir_fd, const std::string& path, int flags,
                                         mode_t mode = 0);

  // A second descriptor for the same open file.
  absl::StatusOr<UniqueFd> Duplicate() const;

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  explicit operator bool() const { return valid(); }
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1);

 private:
  int fd_ = -1;
};

}  // namespace hull

#endif  // VMM_BASE_UNIQUE_FD_H_
