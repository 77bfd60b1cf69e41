#include "vmm/devices/ata/channel.h"

namespace hull::ata {

void Channel::UpdateLine() {
  const Drive* const drive = selected();
  const bool up = drive != nullptr && drive->interrupt() && (control_ & kInterruptsOff) == 0;
  if (up && !line_) raised_ = true;
  line_ = up;
}

uint8_t Channel::ReadAlternateStatus() const {
  if ((control_ & kSoftwareReset) != 0) return kBusy;
  // The first drive answers for a second one that is not there: no status bit is set.
  return selected() != nullptr ? selected()->status() : uint8_t{0};
}

uint8_t Channel::Read(uint64_t offset) {
  if (offset == kStatus) {
    const uint8_t status = ReadAlternateStatus();
    if (selected() != nullptr) selected()->ClearInterrupt();
    UpdateLine();
    return status;
  }
  if (selected() == nullptr) return 0;
  return selected()->Read(offset, (control_ & kHighOrder) != 0);
}

void Channel::Write(uint64_t offset, uint8_t value) {
  if ((control_ & kSoftwareReset) != 0) return;
  if (offset == kStatus) return Command(value);
  if (offset > kStatus) return;
  control_ &= static_cast<uint8_t>(~kHighOrder);
  for (const auto& drive : drives_) {
    if (drive != nullptr) drive->Write(offset, value);
  }
  if (offset == kDevice) second_ = (value & kSelectSecond) != 0;
  UpdateLine();
}

void Channel::Command(uint8_t command) {
  if (command == kDiagnostics) {
    ResetDrives();
    second_ = false;
    if (selected() != nullptr) selected()->RequestInterrupt();
  } else if (selected() != nullptr) {
    selected()->Command(command);
  }
  UpdateLine();
}

void Channel::ResetDrives() {
  for (const auto& drive : drives_) {
    if (drive != nullptr) drive->Reset();
  }
}

void Channel::ReadData(std::span<uint8_t> data) {
  if (selected() == nullptr) {
    for (uint8_t& byte : data) byte = 0xff;
    return;
  }
  selected()->ReadData(data);
  UpdateLine();
}

void Channel::WriteData(std::span<const uint8_t> data) {
  if (selected() == nullptr) return;
  selected()->WriteData(data);
  UpdateLine();
}

void Channel::WriteControl(uint8_t value) {
  const bool was_reset = (control_ & kSoftwareReset) != 0;
  control_ = value;
  if ((value & kSoftwareReset) != 0 && !was_reset) {
    ResetDrives();
    second_ = false;
  }
  UpdateLine();
}

std::optional<Channel::DriveJob> Channel::TakeJob() {
  for (size_t i = 0; i < kDrives; ++i) {
    if (drives_[i] == nullptr) continue;
    if (std::optional<Job> job = drives_[i]->TakeJob()) return DriveJob{i, *std::move(job)};
  }
  return std::nullopt;
}

void Channel::Finish(size_t drive, uint32_t id, Outcome outcome) {
  drives_[drive]->Finish(id, std::move(outcome));
  UpdateLine();
}

}  // namespace hull::ata
