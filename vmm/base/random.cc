#include "vmm/base/random.h"

#include <sys/random.h>

#include <cerrno>

#include "vmm/base/posix_error.h"

namespace hull {

absl::Status FillRandom(std::span<uint8_t> out) {
  while (!out.empty()) {
    const ssize_t n = getrandom(out.data(), out.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return PosixError("get random bytes");
    out = out.subspan(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

}  // namespace hull
