// An owned memory mapping.

#ifndef VMM_BASE_SCOPED_MMAP_H_
#define VMM_BASE_SCOPED_MMAP_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"

namespace hull {

// Move-only owner of an mmap(2) range; unmaps it on destruction.
class ScopedMmap {
 public:
  ScopedMmap() = default;
  ScopedMmap(ScopedMmap&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  ScopedMmap& operator=(ScopedMmap&& other) noexcept;
  ScopedMmap(const ScopedMmap&) = delete;
  ScopedMmap& operator=(const ScopedMmap&) = delete;
  ~ScopedMmap();

  // mmap(2) at an address of the kernel's choice. `size` in bytes, not zero.
  static absl::StatusOr<ScopedMmap> Map(size_t size, int protection, int flags, int fd = -1,
                                        off_t offset = 0);

  // The same at a multiple of `alignment`, itself a power-of-two multiple of the page size.
  static absl::StatusOr<ScopedMmap> MapAligned(size_t size, size_t alignment, int protection,
                                               int flags);

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  ScopedMmap(uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace hull

#endif  // VMM_BASE_SCOPED_MMAP_H_
