#include "vmm/machine/host_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"

namespace hull::machine {

absl::StatusOr<UniqueFd> OpenFileRef(const FileRef& file, int flags, mode_t mode) {
  if (const std::string* path = std::get_if<std::string>(&file.source)) {
    return UniqueFd::Open(*path, flags, mode);
  }
  const int fd = std::get<int>(file.source);
  if (fd <= STDERR_FILENO) {
    UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!copy) return PosixError(absl::StrCat("inherited descriptor ", fd));
    return copy;
  }
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    return PosixError(absl::StrCat("inherited descriptor ", fd));
  }
  return UniqueFd(fd);
}

}  // namespace hull::machine
