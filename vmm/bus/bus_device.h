// The contract between a bus and what is plugged into it.

#ifndef VMM_BUS_BUS_DEVICE_H_
#define VMM_BUS_BUS_DEVICE_H_

#include <cstdint>
#include <span>

#include "absl/strings/string_view.h"

namespace hull {

// A device reached by port or memory-mapped I/O. Called on vCPU threads, possibly on several at
// once: an implementation locks its own registers, and never blocks or does I/O here.
//
// Offset, size and data come from the guest. Any offset below the size under which the device was
// inserted occurs, and sizes 1, 2, 4 and 8; the bus guarantees that offset + size stays inside. An
// access that the device does not define reads as zeroes and ignores writes.
class BusDevice {
 public:
  virtual ~BusDevice() = default;

  // For log lines: "serial", "virtio-mmio:block:root".
  virtual absl::string_view name() const = 0;

  // Fills `data` (little-endian).
  virtual void Read(uint64_t offset, std::span<uint8_t> data) = 0;
  virtual void Write(uint64_t offset, std::span<const uint8_t> data) = 0;
};

}  // namespace hull

#endif  // VMM_BUS_BUS_DEVICE_H_
