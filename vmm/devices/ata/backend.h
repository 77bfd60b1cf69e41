// What stores the content of a disk or of a CD-ROM.

#ifndef VMM_DEVICES_ATA_BACKEND_H_
#define VMM_DEVICES_ATA_BACKEND_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"

namespace hull::ata {

// Called on one thread at a time; all but size and read_only may block. Offsets and sizes are
// multiples of 512 bytes and within the disk: the caller has checked it.
class Backend {
 public:
  virtual ~Backend() = default;

  // Bytes, a multiple of 512. Never changes.
  virtual uint64_t size() const = 0;
  // Where this is true, only Read is called.
  virtual bool read_only() const = 0;
  virtual absl::Status Read(uint64_t offset, std::span<uint8_t> to) = 0;
  virtual absl::Status Write(uint64_t offset, std::span<const uint8_t> from) = 0;
  // Everything written before is on stable storage when this returns.
  virtual absl::Status Flush() = 0;
};

}  // namespace hull::ata

#endif  // VMM_DEVICES_ATA_BACKEND_H_
