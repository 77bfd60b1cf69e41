// The ports by which a guest ends its machine.
//
// The exit port is Hull's own (kernel-config/README.md, "Exit port"); the reset is the PC's, by the
// keyboard controller: IBM PC AT Technical Reference, "8042 Keyboard Controller".

#ifndef VMM_DEVICES_POWER_POWER_H_
#define VMM_DEVICES_POWER_POWER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "absl/strings/string_view.h"
#include "vmm/bus/bus_device.h"

namespace hull::power {

enum class Request { kPowerOff, kReboot, kPanic };

// Called on the vCPU's thread that made the request, maybe on several, maybe again.
using Handler = std::function<void(Request)>;

inline constexpr uint16_t kExitPort = 0x501;
inline constexpr uint64_t kExitPortSize = 1;

// One byte written ends the machine: 1 power-off, 2 reboot, 3 panic. Other values do nothing.
class ExitPort : public BusDevice {
 public:
  explicit ExitPort(Handler handler) : handler_(std::move(handler)) {}
  absl::string_view name() const override { return "exit-port"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  const Handler handler_;
};

inline constexpr uint16_t kKeyboardControllerPort = 0x64;
inline constexpr uint64_t kKeyboardControllerSize = 1;

// The keyboard controller's command port, as far as restarting needs it: command 0xfe pulses the
// CPU's reset line, and the status reads as "ready for a command". Nothing is attached to it.
class KeyboardReset : public BusDevice {
 public:
  explicit KeyboardReset(Handler handler) : handler_(std::move(handler)) {}
  absl::string_view name() const override { return "keyboard-reset"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  const Handler handler_;
};

inline constexpr uint16_t kSystemControlPort = 0x92;
inline constexpr uint64_t kSystemControlSize = 1;

// The PS/2's system control port A: bit 0 set resets the CPU, bit 1 is the gate of address line 20.
// The gate is kept but always open, as KVM has none. IBM PS/2 Hardware Interface Technical
// Reference, "System Control Port A".
class SystemControl : public BusDevice {
 public:
  explicit SystemControl(Handler handler) : handler_(std::move(handler)) {}
  absl::string_view name() const override { return "system-control"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  static constexpr uint8_t kA20 = 1 << 1;

  const Handler handler_;
  std::atomic<uint8_t> gate_{kA20};
};

inline constexpr uint16_t kResetControlPort = 0xcf9;
inline constexpr uint64_t kResetControlSize = 1;

// The chipset's reset control register: bit 2 set resets the CPU, at once. Intel 82371SB (PIIX3)
// data sheet, "Reset Control Register".
class ResetControl : public BusDevice {
 public:
  explicit ResetControl(Handler handler) : handler_(std::move(handler)) {}
  absl::string_view name() const override { return "reset-control"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  const Handler handler_;
};

}  // namespace hull::power

#endif  // VMM_DEVICES_POWER_POWER_H_
