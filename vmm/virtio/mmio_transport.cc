#include "vmm/virtio/mmio_transport.h"

#include <glog/logging.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "vmm/base/log_throttle.h"
#include "vmm/base/status_macros.h"

namespace hull::virtio {
namespace {

constexpr uint32_t kNoSharedMemory = 0xffffffff;

// What the device's thread may change, without a lock: so that a reset, which holds the transport's
// lock while it waits for that thread, cannot deadlock with it.
struct Signals {
  explicit Signals(std::shared_ptr<Interrupt> line) : line(std::move(line)) {}

  // Raised even if the bit is set already: an edge that met a masked pin is lost, and must not
  // silence the device for ever.
  void Raise(uint32_t bit) {
    interrupt_status.fetch_or(bit);
    line->Raise();
  }

  const std::shared_ptr<Interrupt> line;
  std::atomic<uint32_t> interrupt_status{0};
  std::atomic<uint32_t> config_generation{0};
  std::atomic<bool> needs_reset{false};
};

class UsedBufferInterrupt : public Interrupt {
 public:
  explicit UsedBufferInterrupt(std::shared_ptr<Signals> signals) : signals_(std::move(signals)) {}
  void Raise() override { signals_->Raise(kInterruptUsedBuffer); }

 private:
  const std::shared_ptr<Signals> signals_;
};

class ConfigInterrupt : public Interrupt {
 public:
  explicit ConfigInterrupt(std::shared_ptr<Signals> signals) : signals_(std::move(signals)) {}
  void Raise() override {
    signals_->config_generation.fetch_add(1);
    signals_->Raise(kInterruptConfigChange);
  }

 private:
  const std::shared_ptr<Signals> signals_;
};

void SetLow(GuestAddress& address, uint32_t value) {
  address.value = (address.value & 0xffffffff00000000) | value;
}
void SetHigh(GuestAddress& address, uint32_t value) {
  address.value = (address.value & 0x00000000ffffffff) | uint64_t{value} << 32;
}

class Transport : public MmioTransport {
 public:
  Transport(const GuestMemory& memory, std::shared_ptr<Device> device,
            std::shared_ptr<Interrupt> interrupt,
            std::vector<std::shared_ptr<const EventFd>> queue_events)
      : memory_(memory),
        device_(std::move(device)),
        name_(absl::StrCat("virtio-mmio:", device_->name())),
        offered_(device_->features() | kFeatureVersion1 | kFeatureIndirectDesc | kFeatureEventIdx),
        queue_events_(std::move(queue_events)),
        signals_(std::make_shared<Signals>(std::move(interrupt))),
        used_interrupt_(std::make_shared<UsedBufferInterrupt>(signals_)),
        config_interrupt_(std::make_shared<ConfigInterrupt>(signals_)) {
    absl::MutexLock lock(&mutex_);
    ResetRegisters();
  }
  ~Transport() override {
    absl::MutexLock lock(&mutex_);
    Reset();
  }

  absl::string_view name() const override { return name_; }
  std::span<const std::shared_ptr<const EventFd>> queue_events() const override {
    return queue_events_;
  }

  void ResetDevice() override {
    absl::MutexLock lock(&mutex_);
    Reset();
  }

  void Read(uint64_t offset, std::span<uint8_t> data) override {
    if (offset >= kMmioConfig) {
      absl::MutexLock lock(&mutex_);
      device_->ReadConfig(static_cast<uint32_t>(offset - kMmioConfig), data);
      return;
    }
    // 4.2.2.2: "The driver MUST only use 32 bit wide and aligned reads and writes to access the
    // control registers".
    std::fill(data.begin(), data.end(), 0);
    if (data.size() != sizeof(uint32_t)) return;
    const uint32_t value = ReadRegister(offset);
    std::memcpy(data.data(), &value, sizeof(value));
  }

  void Write(uint64_t offset, std::span<const uint8_t> data) override {
    if (offset >= kMmioConfig) {
      absl::MutexLock lock(&mutex_);
      device_->WriteConfig(static_cast<uint32_t>(offset - kMmioConfig), data);
      return;
    }
    uint32_t value;
    if (data.size() != sizeof(value)) return;
    std::memcpy(&value, data.data(), sizeof(value));
    WriteRegister(offset, value);
  }

 private:
  uint32_t ReadRegister(uint64_t offset) ABSL_LOCKS_EXCLUDED(mutex_) {
    switch (offset) {
      case kMmioMagicValue:
        return kMmioMagic;
      case kMmioVersion:
        return 2;
      case kMmioDeviceId:
        return device_->type();
      case kMmioVendorId:
        return kMmioHullVendor;
      case kMmioInterruptStatus:
        return signals_->interrupt_status.load();
      case kMmioConfigGeneration:
        return signals_->config_generation.load();
      case kMmioShmLenLow:
      case kMmioShmLenHigh:
      case kMmioShmBaseLow:
      case kMmioShmBaseHigh:
        // 4.2.2: a region that does not exist has a length of -1. There are none.
        return kNoSharedMemory;
      default:
        break;
    }
    absl::MutexLock lock(&mutex_);
    switch (offset) {
      case kMmioDeviceFeatures:
        // 4.2.2.1: words that hold no feature read as zero.
        return device_features_sel_ < 2
                   ? static_cast<uint32_t>(offered_ >> (32 * device_features_sel_))
                   : 0;
      case kMmioQueueNumMax:
        return queue_sel_ < queues_.size() ? device_->queue_sizes()[queue_sel_] : 0;
      case kMmioQueueReady:
        return queue_sel_ < queues_.size() && queues_[queue_sel_].ready ? 1 : 0;
      case kMmioStatus:
        return status_ | (signals_->needs_reset.load() ? kStatusNeedsReset : 0);
      default:
        return 0;
    }
  }

  void WriteRegister(uint64_t offset, uint32_t value) ABSL_LOCKS_EXCLUDED(mutex_) {
    switch (offset) {
      case kMmioQueueNotify:
        if (value < queue_events_.size()) queue_events_[value]->Signal();
        return;
      case kMmioInterruptAck:
        signals_->interrupt_status.fetch_and(~value);
        return;
      default:
        break;
    }
    absl::MutexLock lock(&mutex_);
    switch (offset) {
      case kMmioDeviceFeaturesSel:
        device_features_sel_ = value;
        return;
      case kMmioDriverFeaturesSel:
        driver_features_sel_ = value;
        return;
      case kMmioDriverFeatures:
        WriteDriverFeatures(value);
        return;
      case kMmioQueueSel:
        queue_sel_ = value;
        return;
      case kMmioStatus:
        WriteStatus(value);
        return;
      default:
        WriteQueueRegister(offset, value);
        return;
    }
  }

  void WriteDriverFeatures(uint32_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    // 2.2.1: features are settled once FEATURES_OK is.
    if ((status_ & kStatusFeaturesOk) != 0) return;
    if (driver_features_sel_ >= 2) {
      unknown_feature_ |= value != 0;
      return;
    }
    const unsigned shift = 32 * driver_features_sel_;
    driver_features_ = (driver_features_ & ~(0xffffffffull << shift)) | uint64_t{value} << shift;
  }

  // A queue is set up between FEATURES_OK and DRIVER_OK (3.1.1), and its other registers are left
  // alone once it is ready (4.2.3.2). Whether what was written makes sense is decided when the
  // device is activated.
  void WriteQueueRegister(uint64_t offset, uint32_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const uint32_t phase = status_ & (kStatusFeaturesOk | kStatusDriverOk);
    if (phase != kStatusFeaturesOk || queue_sel_ >= queues_.size()) return;
    QueueConfig& queue = queues_[queue_sel_];
    if (offset == kMmioQueueReady) {
      queue.ready = value == 1;
      return;
    }
    if (queue.ready) return;
    switch (offset) {
      case kMmioQueueNum:
        // 0 stands for all that no queue can have: it is refused at activation.
        queue.size = value <= kMaxQueueSize ? static_cast<uint16_t>(value) : 0;
        return;
      case kMmioQueueDescLow:
        return SetLow(queue.descriptor_table, value);
      case kMmioQueueDescHigh:
        return SetHigh(queue.descriptor_table, value);
      case kMmioQueueDriverLow:
        return SetLow(queue.driver_area, value);
      case kMmioQueueDriverHigh:
        return SetHigh(queue.driver_area, value);
      case kMmioQueueDeviceLow:
        return SetLow(queue.device_area, value);
      case kMmioQueueDeviceHigh:
        return SetHigh(queue.device_area, value);
      default:
        return;
    }
  }

  void WriteStatus(uint32_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (value == 0) {
      Reset();
      return;
    }
    // 2.1.1: "The driver MUST NOT clear a device status bit" but by a reset; and NEEDS_RESET is the
    // device's to set.
    value = (value | status_) & ~kStatusNeedsReset;
    if ((value & ~status_ & kStatusFeaturesOk) != 0 && !FeaturesAcceptable()) {
      // 3.1.1: the driver re-reads the bit, and gives the device up when it is not set.
      value &= ~kStatusFeaturesOk;
    }
    // 3.1.1: DRIVER_OK is the last step; without the ones before it has no meaning.
    if ((value & kStatusFeaturesOk) == 0) value &= ~kStatusDriverOk;
    const bool activate = (value & ~status_ & kStatusDriverOk) != 0;
    status_ = value;
    if (activate) Activate();
  }

  bool FeaturesAcceptable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    // 2.2.1: "The driver MUST NOT accept a feature which the device did not offer". 6.1: "A device
    // MUST offer VIRTIO_F_VERSION_1. A device MAY fail to operate further if VIRTIO_F_VERSION_1 is
    // not accepted": there is no legacy interface here.
    return !unknown_feature_ && (driver_features_ & ~offered_) == 0 &&
           (driver_features_ & kFeatureVersion1) != 0;
  }

  void Activate() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    absl::Status status = TryActivate();
    if (status.ok()) return;
    if (throttle_.Allow()) LOG(WARNING) << name_ << ": the driver cannot start it: " << status;
    SetNeedsReset(*signals_);
  }

  absl::Status TryActivate() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Activation activation;
    activation.memory = &memory_;
    activation.features = driver_features_;
    for (size_t i = 0; i < queues_.size(); ++i) {
      if (!queues_[i].ready) {
        activation.queues.push_back(std::nullopt);
        continue;
      }
      HULL_ASSIGN_OR_RETURN(Queue queue, Queue::Create(memory_, queues_[i], driver_features_,
                                                       device_->queue_sizes()[i]));
      activation.queues.push_back(ActiveQueue{std::move(queue), queue_events_[i]});
    }
    activation.interrupt = used_interrupt_;
    activation.config_interrupt = config_interrupt_;
    activation.needs_reset = [signals = signals_] { SetNeedsReset(*signals); };
    active_ = true;
    return device_->Activate(std::move(activation));
  }

  // 2.1.2: "If DRIVER_OK is set, after it sets DEVICE_NEEDS_RESET, the device MUST send a device
  // configuration change notification to the driver". Only an active device gets here.
  static void SetNeedsReset(Signals& signals) {
    signals.needs_reset.store(true);
    signals.Raise(kInterruptConfigChange);
  }

  void Reset() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    // After this the device's thread touches neither queues nor signals.
    if (active_) device_->Reset();
    active_ = false;
    ResetRegisters();
  }

  // 2.4: all as after power-on, the device status 0 and no interrupt pending.
  void ResetRegisters() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    status_ = 0;
    device_features_sel_ = 0;
    driver_features_sel_ = 0;
    driver_features_ = 0;
    unknown_feature_ = false;
    queue_sel_ = 0;
    queues_.clear();
    for (const uint16_t size : device_->queue_sizes()) queues_.emplace_back().size = size;
    signals_->needs_reset.store(false);
    signals_->interrupt_status.store(0);
  }

  const GuestMemory& memory_;
  const std::shared_ptr<Device> device_;
  const std::string name_;
  const uint64_t offered_;
  const std::vector<std::shared_ptr<const EventFd>> queue_events_;
  const std::shared_ptr<Signals> signals_;
  const std::shared_ptr<UsedBufferInterrupt> used_interrupt_;
  const std::shared_ptr<ConfigInterrupt> config_interrupt_;
  LogThrottle throttle_;

  absl::Mutex mutex_;
  uint32_t status_ ABSL_GUARDED_BY(mutex_) = 0;  // Without NEEDS_RESET, which is in signals_.
  uint32_t device_features_sel_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t driver_features_sel_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t driver_features_ ABSL_GUARDED_BY(mutex_) = 0;
  bool unknown_feature_ ABSL_GUARDED_BY(mutex_) = false;  // A bit from 64 upward was accepted.
  uint32_t queue_sel_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<QueueConfig> queues_ ABSL_GUARDED_BY(mutex_);
  bool active_ ABSL_GUARDED_BY(mutex_) = false;  // Activate was called since the last reset.
};

}  // namespace

absl::StatusOr<std::shared_ptr<MmioTransport>> MmioTransport::Create(
    const GuestMemory& memory, std::shared_ptr<Device> device,
    std::shared_ptr<Interrupt> interrupt) {
  std::vector<std::shared_ptr<const EventFd>> queue_events;
  for (const uint16_t size : device->queue_sizes()) {
    if (!std::has_single_bit(size) || size > kMaxQueueSize) {
      return absl::InvalidArgumentError(
          absl::StrCat("device \"", device->name(), "\" has a queue of ", size, " entries"));
    }
    HULL_ASSIGN_OR_RETURN(EventFd event, EventFd::Create());
    queue_events.push_back(std::make_shared<const EventFd>(std::move(event)));
  }
  return std::make_shared<Transport>(memory, std::move(device), std::move(interrupt),
                                     std::move(queue_events));
}

}  // namespace hull::virtio
