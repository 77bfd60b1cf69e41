// The firmware configuration device of QEMU's PC: how SeaBIOS learns about the machine.

#ifndef VMM_DEVICES_FW_CFG_DEVICE_H_
#define VMM_DEVICES_FW_CFG_DEVICE_H_

#include <array>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "vmm/bus/bus_device.h"
#include "vmm/devices/fw_cfg/items.h"
#include "vmm/devices/fw_cfg/reader.h"
#include "vmm/memory/guest_memory.h"

namespace hull::fw_cfg {

inline constexpr uint16_t kPort = 0x510;
inline constexpr uint64_t kPortCount = 12;

// Selector at offset 0 (16 bits), data at 1 (8 bits), address of a DMA request at 4 (64 bits,
// big-endian, carried out when its lower half is written). Thread-safe.
class Device : public BusDevice {
 public:
  // `memory` must outlive the device.
  Device(Items items, const GuestMemory& memory) : memory_(memory), reader_(std::move(items)) {}

  absl::string_view name() const override { return "fw_cfg"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  void CarryOut(GuestAddress address) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // False where that is not guest memory.
  bool CopyOut(const Request& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const GuestMemory& memory_;

  absl::Mutex mutex_;
  Reader reader_ ABSL_GUARDED_BY(mutex_);
  std::array<uint8_t, 8> dma_address_ ABSL_GUARDED_BY(mutex_) = {};
};

}  // namespace hull::fw_cfg

#endif  // VMM_DEVICES_FW_CFG_DEVICE_H_
