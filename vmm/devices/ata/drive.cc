#include "vmm/devices/ata/drive.h"

#include <algorithm>
#include <utility>

namespace hull::ata {

namespace {

void Push(TwoDeep& value, uint8_t now) { value = {.now = now, .before = value.now}; }

uint8_t Pick(const TwoDeep& value, bool high_order) {
  return high_order ? value.before : value.now;
}

}  // namespace

uint8_t Drive::Read(uint64_t offset, bool high_order) const {
  switch (offset) {
    case kError:
      return error_;
    case kCount:
      return Pick(registers_.count, high_order);
    case kLbaLow:
      return Pick(registers_.lba_low, high_order);
    case kLbaMid:
      return Pick(registers_.lba_mid, high_order);
    case kLbaHigh:
      return Pick(registers_.lba_high, high_order);
    case kDevice:
      return registers_.device;
    default:
      return 0xff;
  }
}

void Drive::Write(uint64_t offset, uint8_t value) {
  if (phase_ != Phase::kIdle) return;
  switch (offset) {
    case kError:
      Push(registers_.features, value);
      return;
    case kCount:
      Push(registers_.count, value);
      return;
    case kLbaLow:
      Push(registers_.lba_low, value);
      return;
    case kLbaMid:
      Push(registers_.lba_mid, value);
      return;
    case kLbaHigh:
      Push(registers_.lba_high, value);
      return;
    case kDevice:
      registers_.device = value;
      return;
    default:
      return;
  }
}

void Drive::Command(uint8_t command) {
  // Of a drive that is busy or in the middle of data, only DEVICE RESET is taken, by packet
  // devices.
  if (phase_ != Phase::kIdle && command != kDeviceReset) return;
  interrupt_ = false;
  Execute(command);
}

void Drive::Reset() {
  phase_ = Phase::kIdle;
  interrupt_ = false;
  job_.reset();
  ++job_id_;
  block_.clear();
  moved_ = 0;
  error_ = kDiagnosticsPassed;
  OnReset();
  registers_.device = 0;
}

void Drive::Succeed() {
  SucceedQuietly();
  interrupt_ = true;
}

void Drive::SucceedQuietly() {
  phase_ = Phase::kIdle;
  error_ = 0;
  status_ = IdleStatus();
}

void Drive::Fail(uint8_t error) {
  phase_ = Phase::kIdle;
  error_ = error;
  status_ = kReady | kSeekComplete | kFailed;
  interrupt_ = true;
}

void Drive::OfferBlock(std::span<const uint8_t> block) {
  phase_ = Phase::kToGuest;
  block_.assign(block.begin(), block.end());
  moved_ = 0;
  error_ = 0;
  status_ = kReady | kSeekComplete | kDataRequest;
  interrupt_ = true;
}

void Drive::AwaitBlock(size_t size) {
  phase_ = Phase::kFromGuest;
  block_.assign(size, 0);
  moved_ = 0;
  error_ = 0;
  status_ = kReady | kSeekComplete | kDataRequest;
}

void Drive::Start(Job job) {
  phase_ = Phase::kBusy;
  status_ = kBusy;
  job.id = ++job_id_;
  job_ = std::move(job);
}

void Drive::ShowSignature(uint8_t mid, uint8_t high) {
  registers_ = {.features = {},
                .count = {.now = 1},
                .lba_low = {.now = 1},
                .lba_mid = {.now = mid},
                .lba_high = {.now = high},
                // Which drive is selected stays.
                .device = static_cast<uint8_t>(registers_.device & kSelectSecond)};
}

std::optional<Job> Drive::TakeJob() { return std::exchange(job_, std::nullopt); }

void Drive::Finish(uint32_t id, Outcome outcome) {
  if (phase_ != Phase::kBusy || id != job_id_) return;
  OnFinished(std::move(outcome));
}

void Drive::ReadData(std::span<uint8_t> data) {
  if (phase_ != Phase::kToGuest) {
    std::fill(data.begin(), data.end(), uint8_t{0xff});
    return;
  }
  const size_t size = std::min(data.size(), block_.size() - moved_);
  std::copy_n(block_.begin() + static_cast<ptrdiff_t>(moved_), size, data.begin());
  std::fill(data.begin() + static_cast<ptrdiff_t>(size), data.end(), uint8_t{0xff});
  moved_ += size;
  if (moved_ == block_.size()) OnBlockRead();
}

void Drive::WriteData(std::span<const uint8_t> data) {
  if (phase_ != Phase::kFromGuest) return;
  const size_t size = std::min(data.size(), block_.size() - moved_);
  std::copy_n(data.begin(), size, block_.begin() + static_cast<ptrdiff_t>(moved_));
  moved_ += size;
  if (moved_ == block_.size()) OnBlockWritten(std::exchange(block_, {}));
}

void PutText(std::span<uint8_t, kIdentifySize> identify, size_t word, size_t words,
             const std::string& text) {
  for (size_t i = 0; i < 2 * words; ++i) {
    identify[2 * word + (i ^ 1)] = i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{' '};
  }
}

void PutWord(std::span<uint8_t, kIdentifySize> identify, size_t word, uint32_t value) {
  identify[2 * word] = static_cast<uint8_t>(value);
  identify[2 * word + 1] = static_cast<uint8_t>(value >> 8);
}

}  // namespace hull::ata
