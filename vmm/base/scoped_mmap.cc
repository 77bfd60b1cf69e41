#include "vmm/base/scoped_mmap.h"

#include <sys/mman.h>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"

namespace hull {

absl::StatusOr<ScopedMmap> ScopedMmap::Map(size_t size, int protection, int flags, int fd,
                                           off_t offset) {
  void* data = mmap(nullptr, size, protection, flags, fd, offset);
  if (data == MAP_FAILED) return PosixError(absl::StrCat("map ", size, " bytes of memory"));
  return ScopedMmap(static_cast<uint8_t*>(data), size);
}

ScopedMmap& ScopedMmap::operator=(ScopedMmap&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

ScopedMmap::~ScopedMmap() {
  if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace hull
