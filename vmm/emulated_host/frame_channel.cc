#include "vmm/emulated_host/frame_channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "vmm/base/posix_error.h"

namespace hull::emulated_host {
namespace {

// Per Read() call, so that one busy peer cannot keep the loop from the others.
constexpr size_t kReadSize = 64 * 1024;

}  // namespace

absl::Status FrameChannel::Read() {
  char buffer[kReadSize];
  const ssize_t n = read(fd_.get(), buffer, sizeof(buffer));
  if (n > 0) {
    decoder_.Append(absl::string_view(buffer, static_cast<size_t>(n)));
    return absl::OkStatus();
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return absl::OkStatus();
  if (n == 0 || errno == ECONNRESET || errno == EPIPE) {
    return absl::UnavailableError("the other end has closed");
  }
  return PosixError("read from the link");
}

absl::Status FrameChannel::Flush() {
  while (sent_ < out_.size()) {
    const char* const data = out_.data() + sent_;
    const size_t size = out_.size() - sent_;
    // A peer that is gone is an error here, not a SIGPIPE. A port has neither.
    const ssize_t n =
        is_socket_ ? send(fd_.get(), data, size, MSG_NOSIGNAL) : write(fd_.get(), data, size);
    if (n < 0 && errno == ENOTSOCK) {
      is_socket_ = false;
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
      return absl::UnavailableError("the other end has closed");
    }
    if (n < 0) return PosixError("write to the link");
    sent_ += static_cast<size_t>(n);
  }
  if (sent_ == out_.size()) {
    out_.clear();
    sent_ = 0;
  } else if (sent_ > out_.size() / 2) {
    out_.erase(0, sent_);
    sent_ = 0;
  }
  return absl::OkStatus();
}

short FrameChannel::PollEvents() const {
  return static_cast<short>(POLLIN | (queued() > 0 ? POLLOUT : 0));
}

}  // namespace hull::emulated_host
