// The real-time clock on the port bus.

#ifndef VMM_DEVICES_RTC_DEVICE_H_
#define VMM_DEVICES_RTC_DEVICE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "vmm/bus/bus_device.h"
#include "vmm/bus/interrupt.h"
#include "vmm/devices/rtc/clock.h"
#include "vmm/event/event_loop.h"

namespace hull::rtc {

inline constexpr uint16_t kPort = 0x70;
inline constexpr uint64_t kPortCount = 2;

// Registers on vCPU threads, the timer of its interrupts on the loop's.
class Device : public BusDevice, public std::enable_shared_from_this<Device> {
 public:
  // Thread-safe; never waits.
  using Now = std::function<absl::Time()>;

  // `clock` as firmware is to find it. `loop` must outlive the device.
  static std::shared_ptr<Device> Create(Clock clock, Now now, std::shared_ptr<Interrupt> interrupt,
                                        EventLoop& loop);
  ~Device() override;

  absl::string_view name() const override { return "rtc"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  Device(Clock clock, Now now, std::shared_ptr<Interrupt> interrupt, EventLoop& loop)
      : now_(std::move(now)), interrupt_(std::move(interrupt)), loop_(loop), clock_(clock) {}
  // On the loop's thread: makes the timer what the registers ask for.
  void Arm();
  void OnTimer();

  const Now now_;
  const std::shared_ptr<Interrupt> interrupt_;
  EventLoop& loop_;
  std::optional<EventLoop::Id> timer_;  // The loop's thread's.

  absl::Mutex mutex_;
  Clock clock_ ABSL_GUARDED_BY(mutex_);
  uint8_t index_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace hull::rtc

#endif  // VMM_DEVICES_RTC_DEVICE_H_
