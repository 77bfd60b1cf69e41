// A VGA on the port and memory buses.

#ifndef VMM_DEVICES_VGA_DEVICE_H_
#define VMM_DEVICES_VGA_DEVICE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "vmm/base/scoped_mmap.h"
#include "vmm/bus/bus_device.h"
#include "vmm/devices/vga/adapter.h"

namespace hull::vga {

// Thread-safe.
class Device {
 public:
  // Time since some moment; never goes backwards.
  using Clock = std::function<absl::Duration()>;

  // `frame_buffer` has kFrameBufferSize bytes, which the guest sees as they are.
  Device(Clock clock, ScopedMmap frame_buffer)
      : clock_(std::move(clock)),
        frame_buffer_(std::move(frame_buffer)),
        adapter_(std::span(frame_buffer_.data(), frame_buffer_.size())) {}
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void ReadPorts(uint16_t port, std::span<uint8_t> data);
  void WritePorts(uint16_t port, std::span<const uint8_t> data);
  uint16_t ReadVbe(bool data) const;
  void WriteVbe(bool data, uint16_t value);
  void ReadMemory(uint64_t offset, std::span<uint8_t> data);
  void WriteMemory(uint64_t offset, std::span<const uint8_t> data);

  // A copy, so that drawing holds up no vCPU.
  State Snapshot() const;

 private:
  const Clock clock_;
  const ScopedMmap frame_buffer_;
  mutable absl::Mutex mutex_;
  Adapter adapter_ ABSL_GUARDED_BY(mutex_);
};

// The ports from kFirstPort on, for the port bus.
class Ports : public BusDevice {
 public:
  explicit Ports(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  absl::string_view name() const override { return "vga"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override {
    device_->ReadPorts(static_cast<uint16_t>(kFirstPort + offset), data);
  }
  void Write(uint64_t offset, std::span<const uint8_t> data) override {
    device_->WritePorts(static_cast<uint16_t>(kFirstPort + offset), data);
  }

 private:
  const std::shared_ptr<Device> device_;
};

// The ports from kVbeFirstPort on, for the port bus: two words that overlap.
class VbePorts : public BusDevice {
 public:
  explicit VbePorts(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  absl::string_view name() const override { return "vbe"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  const std::shared_ptr<Device> device_;
};

// The window at kWindowStart, for the memory bus.
class Window : public BusDevice {
 public:
  explicit Window(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  absl::string_view name() const override { return "vga-memory"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override {
    device_->ReadMemory(offset, data);
  }
  void Write(uint64_t offset, std::span<const uint8_t> data) override {
    device_->WriteMemory(offset, data);
  }

 private:
  const std::shared_ptr<Device> device_;
};

}  // namespace hull::vga

#endif  // VMM_DEVICES_VGA_DEVICE_H_
