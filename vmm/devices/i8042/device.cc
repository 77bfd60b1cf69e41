#include "vmm/devices/i8042/device.h"

#include <algorithm>

namespace hull::i8042 {

namespace {

constexpr uint64_t kData = 0;
constexpr uint64_t kStatusCommand = 4;

}  // namespace

void Device::Act(const Controller::Signals& signals) {
  if (signals.keyboard_interrupt) keyboard_->Raise();
  if (signals.mouse_interrupt) mouse_->Raise();
  if (signals.reset) reset_();
}

void Device::Read(uint64_t offset, std::span<uint8_t> data) {
  Controller::Signals signals;
  {
    absl::MutexLock lock(&mutex_);
    std::fill(data.begin(), data.end(), uint8_t{0});
    if (offset == kData) data[0] = controller_.ReadData();
    if (offset == kStatusCommand) data[0] = controller_.ReadStatus();
    signals = controller_.TakeSignals();
  }
  Act(signals);
}

void Device::Write(uint64_t offset, std::span<const uint8_t> data) {
  Controller::Signals signals;
  {
    absl::MutexLock lock(&mutex_);
    if (offset == kData) controller_.WriteData(data[0]);
    if (offset == kStatusCommand) controller_.WriteCommand(data[0]);
    signals = controller_.TakeSignals();
  }
  Act(signals);
}

size_t Device::PressKeys(std::span<const uint8_t> codes) {
  Controller::Signals signals;
  size_t taken;
  {
    absl::MutexLock lock(&mutex_);
    taken = controller_.PressKeys(codes);
    signals = controller_.TakeSignals();
  }
  Act(signals);
  return taken;
}

void Device::MoveMouse(int dx, int dy, uint8_t buttons) {
  Controller::Signals signals;
  {
    absl::MutexLock lock(&mutex_);
    controller_.MoveMouse(dx, dy, buttons);
    signals = controller_.TakeSignals();
  }
  Act(signals);
}

}  // namespace hull::i8042
