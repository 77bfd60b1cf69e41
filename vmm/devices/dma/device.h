// The DMA controllers on the port bus, and their channels.

#ifndef VMM_DEVICES_DMA_DEVICE_H_
#define VMM_DEVICES_DMA_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "vmm/bus/bus_device.h"
#include "vmm/bus/dma_channel.h"
#include "vmm/devices/dma/controller.h"
#include "vmm/memory/guest_memory.h"

namespace hull::dma {

// Thread-safe.
class Device {
 public:
  // `memory` must outlive the device and its channels.
  explicit Device(const GuestMemory& memory) : memory_(memory) {}
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  uint8_t ReadPort(uint16_t port);
  void WritePort(uint16_t port, uint8_t value);

  DmaChannel::Moved ToMemory(size_t channel, std::span<const uint8_t> data);
  DmaChannel::Moved FromMemory(size_t channel, std::span<uint8_t> data);

 private:
  Controller::Chunk Advance(size_t channel, Controller::Direction direction, size_t limit);

  const GuestMemory& memory_;
  absl::Mutex mutex_;
  Controller controller_ ABSL_GUARDED_BY(mutex_);
};

// The three ranges of ports that the device has.
inline constexpr struct {
  uint16_t port;
  uint16_t count;
} kPortRanges[] = {{0x00, 0x10}, {0x80, 0x10}, {0xc0, 0x20}};

// One of them.
class Ports : public BusDevice {
 public:
  Ports(std::shared_ptr<Device> device, uint16_t first)
      : device_(std::move(device)), first_(first) {}
  absl::string_view name() const override { return "dma"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  const std::shared_ptr<Device> device_;
  const uint16_t first_;
};

// Channel `number` (below kChannels).
std::unique_ptr<DmaChannel> CreateChannel(std::shared_ptr<Device> device, size_t number);

}  // namespace hull::dma

#endif  // VMM_DEVICES_DMA_DEVICE_H_
