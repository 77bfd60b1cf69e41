// A floppy disk controller on the port bus, with its drives.

#ifndef VMM_DEVICES_FLOPPY_DEVICE_H_
#define VMM_DEVICES_FLOPPY_DEVICE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "vmm/base/log_throttle.h"
#include "vmm/base/worker_thread.h"
#include "vmm/bus/bus_device.h"
#include "vmm/bus/dma_channel.h"
#include "vmm/bus/interrupt.h"
#include "vmm/devices/floppy/backend.h"
#include "vmm/devices/floppy/controller.h"

namespace hull::floppy {

inline constexpr uint16_t kPort = 0x3f0;
inline constexpr uint64_t kPortCount = 6;
// The one behind a port that belongs to the hard disks.
inline constexpr uint16_t kLastPort = 0x3f7;
inline constexpr size_t kDmaChannel = 2;

// Moves data from and to `backend` through `channel` as `transfer` asks for. At most two tracks.
// Whether the storage failed is said in `storage`, too.
Outcome CarryOut(const Transfer& transfer, Backend& backend, DmaChannel& channel,
                 absl::Status& storage);

// Registers on vCPU threads; data moves on a thread of the device's own.
class Device {
 public:
  using Drives = std::array<std::unique_ptr<Backend>, kDrives>;

  // A drive may be empty (null). kInvalidArgument for an image whose size no diskette has.
  // `on_start` is the first thing that the device's thread does.
  static absl::StatusOr<std::shared_ptr<Device>> Create(Drives drives,
                                                        std::unique_ptr<DmaChannel> channel,
                                                        std::shared_ptr<Interrupt> interrupt,
                                                        std::function<void()> on_start);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device();

  // What firmware is to be told that drive `drive` (below kDrives) is, or 0 if there is none.
  uint8_t DriveType(size_t drive) const;

  // Whether the guest has yet to serve the last interrupt.
  bool InterruptPending() const;

  // Offsets from kPort.
  uint8_t Read(uint64_t offset);
  void Write(uint64_t offset, uint8_t value);

 private:
  Device(Drives drives, const std::array<std::optional<Medium>, kDrives>& media,
         std::unique_ptr<DmaChannel> channel, std::shared_ptr<Interrupt> interrupt)
      : drives_(std::move(drives)),
        channel_(std::move(channel)),
        interrupt_(std::move(interrupt)),
        controller_(media) {}
  void Work();

  const Drives drives_;  // Used by the worker.
  const std::unique_ptr<DmaChannel> channel_;
  const std::shared_ptr<Interrupt> interrupt_;
  LogThrottle throttle_;  // The worker's.

  mutable absl::Mutex mutex_;
  Controller controller_ ABSL_GUARDED_BY(mutex_);
  std::optional<Transfer> pending_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<WorkerThread> worker_;
};

// A range of the device's ports, which starts at `first` from kPort.
class Ports : public BusDevice {
 public:
  Ports(std::shared_ptr<Device> device, uint64_t first)
      : device_(std::move(device)), first_(first) {}
  absl::string_view name() const override { return "floppy"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  const std::shared_ptr<Device> device_;
  const uint64_t first_;
};

}  // namespace hull::floppy

#endif  // VMM_DEVICES_FLOPPY_DEVICE_H_
