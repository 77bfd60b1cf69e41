// An ATA channel on the port bus, with its drives.

#ifndef VMM_DEVICES_ATA_DEVICE_H_
#define VMM_DEVICES_ATA_DEVICE_H_

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "vmm/base/log_throttle.h"
#include "vmm/base/worker_thread.h"
#include "vmm/bus/bus_device.h"
#include "vmm/bus/interrupt.h"
#include "vmm/devices/ata/backend.h"
#include "vmm/devices/ata/channel.h"
#include "vmm/devices/ata/geometry.h"

namespace hull::ata {

// A PC's channels: where their command blocks and their device control registers are.
struct ChannelPorts {
  uint16_t command = 0;
  uint16_t control = 0;
};
inline constexpr ChannelPorts kPrimary = {0x1f0, 0x3f6};
inline constexpr ChannelPorts kSecondary = {0x170, 0x376};
inline constexpr uint64_t kCommandPortCount = 8;
// A partition table and a BIOS cannot say more than 32 bits' worth of sectors.
inline constexpr uint64_t kMaxDiskSize = uint64_t{2} << 40;

// A hard disk or a disc, and its storage.
struct Unit {
  std::unique_ptr<Backend> backend;
  bool cdrom = false;
  std::string serial;
};

// Does on `backend` what `job` asks for. Why it failed is said in `storage`, too.
Outcome CarryOut(const Job& job, Backend& backend, absl::Status& storage);

// Registers on vCPU threads; storage on a thread of the device's own.
class Device {
 public:
  using Units = std::array<std::optional<Unit>, kDrives>;

  // kInvalidArgument for a disk of more than kMaxDiskSize or a disc that is larger than discs are
  // (2^32 sectors). Reads each disk's first sector: its storage's errors. `on_start` is the first
  // thing that the device's thread does.
  static absl::StatusOr<std::shared_ptr<Device>> Create(Units units,
                                                        std::shared_ptr<Interrupt> interrupt,
                                                        std::function<void()> on_start);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device();

  // Of the disk at place `drive` (below kDrives), if it is one.
  std::optional<Layout> LayoutOfDisk(size_t drive) const { return layouts_[drive]; }

  // The command block; `offset` below kCommandPortCount.
  void Read(uint64_t offset, std::span<uint8_t> data);
  void Write(uint64_t offset, std::span<const uint8_t> data);
  uint8_t ReadAlternateStatus() const;
  void WriteControl(uint8_t value);

 private:
  Device(Units units, Channel::Drives drives,
         const std::array<std::optional<Layout>, kDrives>& layouts,
         std::shared_ptr<Interrupt> interrupt)
      : units_(std::move(units)),
        layouts_(layouts),
        interrupt_(std::move(interrupt)),
        channel_(std::move(drives)) {}
  // Takes what the last access caused; whether the line is to be raised.
  bool Settle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Work();

  const Units units_;  // Their backends are used by the worker.
  const std::array<std::optional<Layout>, kDrives> layouts_;
  const std::shared_ptr<Interrupt> interrupt_;
  LogThrottle throttle_;  // The worker's.

  mutable absl::Mutex mutex_;
  Channel channel_ ABSL_GUARDED_BY(mutex_);
  // At most one of each drive: a new one takes the place of one that a reset dropped.
  std::array<std::optional<Job>, kDrives> pending_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<WorkerThread> worker_;
};

// The command block, for the port bus.
class CommandPorts : public BusDevice {
 public:
  explicit CommandPorts(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  absl::string_view name() const override { return "ata"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override { device_->Read(offset, data); }
  void Write(uint64_t offset, std::span<const uint8_t> data) override {
    device_->Write(offset, data);
  }

 private:
  const std::shared_ptr<Device> device_;
};

// The device control register, for the port bus.
class ControlPort : public BusDevice {
 public:
  explicit ControlPort(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  absl::string_view name() const override { return "ata-control"; }
  void Read(uint64_t, std::span<uint8_t> data) override {
    for (uint8_t& byte : data) byte = device_->ReadAlternateStatus();
  }
  void Write(uint64_t, std::span<const uint8_t> data) override { device_->WriteControl(data[0]); }

 private:
  const std::shared_ptr<Device> device_;
};

}  // namespace hull::ata

#endif  // VMM_DEVICES_ATA_DEVICE_H_
