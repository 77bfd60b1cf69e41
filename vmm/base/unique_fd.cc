#include "vmm/base/unique_fd.h"

#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"

namespace hull {

absl::StatusOr<UniqueFd> UniqueFd::Open(const std::string& path, int flags, mode_t mode) {
  return OpenAt(AT_FDCWD, path, flags, mode);
}

absl::StatusOr<UniqueFd> UniqueFd::OpenAt(int dir_fd, const std::string& path, int flags,
                                          mode_t mode) {
  int fd;
  do {
    fd = openat(dir_fd, path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return PosixError(absl::StrCat("open \"", path, "\""));
  return UniqueFd(fd);
}

absl::StatusOr<UniqueFd> UniqueFd::Duplicate() const {
  const int fd = fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return PosixError("duplicate a file descriptor");
  return UniqueFd(fd);
}

void UniqueFd::Reset(int fd) {
  // close(2) releases the descriptor even when it reports an error, so there is nothing to retry.
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

}  // namespace hull
