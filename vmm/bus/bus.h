// An address space of devices: port I/O or memory-mapped I/O.

#ifndef VMM_BUS_BUS_H_
#define VMM_BUS_BUS_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "vmm/bus/bus_device.h"

namespace hull {

// Sorted, non-overlapping ranges. Built before the vCPUs run; Read and Write are then thread-safe
// (each device locks for itself).
class Bus {
 public:
  Bus() = default;
  Bus(const Bus&) = delete;
  Bus& operator=(const Bus&) = delete;

  // kInvalidArgument for an empty or wrapping range, kAlreadyExists for one that overlaps another.
  absl::Status Insert(uint64_t base, uint64_t size, std::shared_ptr<BusDevice> device);

  // Lets go of all devices, once no vCPU runs.
  void Clear() { entries_.clear(); }

  // Whether a device took the access. If none did, a read is filled with 0xff (a floating bus).
  // An access that starts in one device and ends outside it reaches no device.
  bool Read(uint64_t address, std::span<uint8_t> data) const;
  bool Write(uint64_t address, std::span<const uint8_t> data) const;

 private:
  struct Entry {
    uint64_t base;
    uint64_t size;
    std::shared_ptr<BusDevice> device;
  };
  const Entry* Find(uint64_t address, uint64_t size) const;

  std::vector<Entry> entries_;  // By base, ascending.
};

}  // namespace hull

#endif  // VMM_BUS_BUS_H_
