// An owned file descriptor; the guest's small sibling of vmm/base/unique_fd.h (which needs absl).

#ifndef GUEST_AGENT_FD_H_
#define GUEST_AGENT_FD_H_

#include <unistd.h>

#include <utility>

namespace hull::agent {

// Move-only; closes on destruction. Whoever makes the descriptor sets O_CLOEXEC.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}  // negative: none
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void Reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_FD_H_
