#include "vmm/base/scoped_mmap.h"

#include <sys/mman.h>

#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "vmm/base/checked.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull {

absl::StatusOr<ScopedMmap> ScopedMmap::Map(size_t size, int protection, int flags, int fd,
                                           off_t offset) {
  void* data = mmap(nullptr, size, protection, flags, fd, offset);
  if (data == MAP_FAILED) return PosixError(absl::StrCat("map ", size, " bytes of memory"));
  return ScopedMmap(static_cast<uint8_t*>(data), size);
}

absl::StatusOr<ScopedMmap> ScopedMmap::MapAligned(size_t size, size_t alignment, int protection,
                                                  int flags) {
  const std::optional<size_t> room = CheckedAdd(size, alignment);
  if (!room.has_value()) return absl::InvalidArgumentError("a mapping larger than memory");
  HULL_ASSIGN_OR_RETURN(ScopedMmap whole, Map(*room, protection, flags));
  uint8_t* const start = whole.data_;
  uint8_t* const end = start + *room;
  // What is before and behind the aligned part goes.
  const size_t before = -reinterpret_cast<uintptr_t>(start) % alignment;
  whole.data_ = start + before;
  whole.size_ = size;
  if (before != 0) munmap(start, before);
  munmap(whole.data_ + size, static_cast<size_t>(end - (whole.data_ + size)));
  return whole;
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
