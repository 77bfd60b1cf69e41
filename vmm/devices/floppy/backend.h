// What stores a diskette's content.

#ifndef VMM_DEVICES_FLOPPY_BACKEND_H_
#define VMM_DEVICES_FLOPPY_BACKEND_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"

namespace hull::floppy {

// Called on one thread at a time; Read and Write may block. They transfer whole sectors of 512
// bytes, within the diskette: the caller has checked it.
class Backend {
 public:
  virtual ~Backend() = default;

  // Bytes. Never changes.
  virtual uint64_t size() const = 0;
  // Where this is true, Write is not called.
  virtual bool read_only() const = 0;
  virtual absl::Status Read(uint64_t offset, std::span<uint8_t> to) = 0;
  virtual absl::Status Write(uint64_t offset, std::span<const uint8_t> from) = 0;
};

}  // namespace hull::floppy

#endif  // VMM_DEVICES_FLOPPY_BACKEND_H_
