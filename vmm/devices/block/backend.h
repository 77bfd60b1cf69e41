// What stores a disk's content.

#ifndef VMM_DEVICES_BLOCK_BACKEND_H_
#define VMM_DEVICES_BLOCK_BACKEND_H_

#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace hull::block {

// Called on one thread at a time; every call may block. Offsets and sizes are in bytes, multiples
// of 512, and [offset, offset + size) lies within the disk: the caller has checked it.
class Backend {
 public:
  virtual ~Backend() = default;

  // For log lines: `"/path"`, `descriptor 5`.
  virtual absl::string_view name() const = 0;
  // Bytes; a non-zero multiple of block_size(). Never changes.
  virtual uint64_t size() const = 0;
  // The unit in which the disk works best, a power of two from 512 to 4096; smaller accesses work.
  virtual uint32_t block_size() const = 0;
  // Where this is true, only Read is called.
  virtual bool read_only() const = 0;

  // Read and Write transfer all the slices or fail. They use the span as their scratch memory.
  virtual absl::Status Read(uint64_t offset, std::span<iovec> to) = 0;
  virtual absl::Status Write(uint64_t offset, std::span<iovec> from) = 0;
  // Everything written before is on stable storage when this returns.
  virtual absl::Status Flush() = 0;
  // The content of the range no longer matters.
  virtual absl::Status Discard(uint64_t offset, uint64_t size) = 0;
  // The range reads as zeroes; `may_unmap`: its storage may be given back.
  virtual absl::Status WriteZeroes(uint64_t offset, uint64_t size, bool may_unmap) = 0;
};

}  // namespace hull::block

#endif  // VMM_DEVICES_BLOCK_BACKEND_H_
