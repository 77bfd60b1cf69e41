// The keyboard controller on the port bus.

#ifndef VMM_DEVICES_I8042_DEVICE_H_
#define VMM_DEVICES_I8042_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "vmm/bus/bus_device.h"
#include "vmm/bus/interrupt.h"
#include "vmm/devices/i8042/controller.h"

namespace hull::i8042 {

// Data at offset 0, status and command at 4. What is between them belongs to others: on a PC those
// ports are the speaker's, in KVM.
inline constexpr uint16_t kPort = 0x60;
inline constexpr uint64_t kPortCount = 5;

// Thread-safe.
class Device : public BusDevice {
 public:
  // `reset` is called on the vCPU's thread that pulsed the CPU's reset line, maybe again.
  Device(std::shared_ptr<Interrupt> keyboard, std::shared_ptr<Interrupt> mouse,
         std::function<void()> reset)
      : keyboard_(std::move(keyboard)), mouse_(std::move(mouse)), reset_(std::move(reset)) {}

  absl::string_view name() const override { return "i8042"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

  // See Controller.
  size_t PressKeys(std::span<const uint8_t> codes);
  void MoveMouse(int dx, int dy, uint8_t buttons);

 private:
  void Act(const Controller::Signals& signals);

  const std::shared_ptr<Interrupt> keyboard_;
  const std::shared_ptr<Interrupt> mouse_;
  const std::function<void()> reset_;

  absl::Mutex mutex_;
  Controller controller_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hull::i8042

#endif  // VMM_DEVICES_I8042_DEVICE_H_
