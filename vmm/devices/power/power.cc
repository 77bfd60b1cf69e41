#include "vmm/devices/power/power.h"

#include <algorithm>

namespace hull::power {

namespace {

constexpr uint8_t kExitPowerOff = 0x01;
constexpr uint8_t kExitReboot = 0x02;
constexpr uint8_t kExitPanic = 0x03;
constexpr uint8_t kPulseReset = 0xfe;

void ReadZeroes(std::span<uint8_t> data) { std::fill(data.begin(), data.end(), uint8_t{0}); }

}  // namespace

void ExitPort::Read(uint64_t, std::span<uint8_t> data) { ReadZeroes(data); }

void ExitPort::Write(uint64_t, std::span<const uint8_t> data) {
  switch (data[0]) {
    case kExitPowerOff:
      handler_(Request::kPowerOff);
      break;
    case kExitReboot:
      handler_(Request::kReboot);
      break;
    case kExitPanic:
      handler_(Request::kPanic);
      break;
    default:
      break;
  }
}

// Status 0: both buffers are empty, so a driver that waits for room for a command goes on.
void KeyboardReset::Read(uint64_t, std::span<uint8_t> data) { ReadZeroes(data); }

void KeyboardReset::Write(uint64_t, std::span<const uint8_t> data) {
  if (data[0] == kPulseReset) handler_(Request::kReboot);
}

void SystemControl::Read(uint64_t, std::span<uint8_t> data) { data[0] = gate_; }

void SystemControl::Write(uint64_t, std::span<const uint8_t> data) {
  constexpr uint8_t kReset = 1 << 0;
  gate_ = data[0] & kA20;
  if ((data[0] & kReset) != 0) handler_(Request::kReboot);
}

void ResetControl::Read(uint64_t, std::span<uint8_t> data) { ReadZeroes(data); }

void ResetControl::Write(uint64_t, std::span<const uint8_t> data) {
  constexpr uint8_t kReset = 1 << 2;
  if ((data[0] & kReset) != 0) handler_(Request::kReboot);
}

}  // namespace hull::power
