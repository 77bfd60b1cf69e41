#include "vmm/devices/rtc/device.h"

namespace hull::rtc {

namespace {

// The index register's highest bit masks the NMI, which there is none of.
constexpr uint8_t kIndexMask = 0x7f;

}  // namespace

std::shared_ptr<Device> Device::Create(Clock clock, Now now, std::shared_ptr<Interrupt> interrupt,
                                       EventLoop& loop) {
  return std::shared_ptr<Device>(new Device(clock, std::move(now), std::move(interrupt), loop));
}

Device::~Device() {
  if (timer_.has_value()) loop_.CancelTimer(*timer_);
}

void Device::Read(uint64_t offset, std::span<uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    data[i] = offset + i == 1 ? clock_.Read(index_, now_()) : 0xff;
  }
}

void Device::Write(uint64_t offset, std::span<const uint8_t> data) {
  bool rearm = false;
  {
    absl::MutexLock lock(&mutex_);
    for (size_t i = 0; i < data.size(); ++i) {
      if (offset + i == 0) {
        index_ = data[i] & kIndexMask;
      } else {
        clock_.Write(index_, data[i], now_());
        rearm = rearm || index_ == kStatusA || index_ == kStatusB;
      }
    }
  }
  if (!rearm) return;
  loop_.Post([weak = weak_from_this()] {
    if (const std::shared_ptr<Device> self = weak.lock()) self->Arm();
  });
}

void Device::Arm() {
  if (timer_.has_value()) loop_.CancelTimer(*timer_);
  timer_.reset();
  std::optional<absl::Duration> delay;
  {
    absl::MutexLock lock(&mutex_);
    delay = clock_.NextInterrupt(now_());
  }
  if (delay.has_value()) timer_ = loop_.AddTimer(*delay, [this] { OnTimer(); });
}

void Device::OnTimer() {
  timer_.reset();
  bool raise;
  {
    absl::MutexLock lock(&mutex_);
    raise = clock_.Poll(now_());
  }
  if (raise) interrupt_->Raise();
  Arm();
}

}  // namespace hull::rtc
