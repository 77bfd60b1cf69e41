#include "vmm/devices/floppy/controller.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

namespace hull::floppy {

namespace {

// Registers.
constexpr uint64_t kStatusA = 0;
constexpr uint64_t kStatusB = 1;
constexpr uint64_t kDigitalOutput = 2;
constexpr uint64_t kTapeDrive = 3;
constexpr uint64_t kMainStatus = 4;  // Read; written, it is the data rate select register.
constexpr uint64_t kData = 5;
constexpr uint64_t kDigitalInput = 7;  // Read; written, it is the configuration control register.

// Digital output register.
constexpr uint8_t kDriveSelect = 0x03;
constexpr uint8_t kNotReset = 1 << 2;
constexpr uint8_t kInterruptsAndDma = 1 << 3;

constexpr uint8_t kRateMask = 0x03;
constexpr uint8_t kSoftwareReset = 1 << 7;  // Data rate select register.
constexpr uint8_t kDiskChanged = 1 << 7;    // Digital input register.

// Main status register.
constexpr uint8_t kReady = 1 << 7;
constexpr uint8_t kToHost = 1 << 6;
constexpr uint8_t kBusy = 1 << 4;

// Commands, without the bits MT, MFM and SK.
constexpr uint8_t kCommandMask = 0x1f;
constexpr uint8_t kMultiTrack = 0x80;
constexpr uint8_t kReadTrack = 0x02;
constexpr uint8_t kSpecify = 0x03;
constexpr uint8_t kSenseDrive = 0x04;
constexpr uint8_t kWriteData = 0x05;
constexpr uint8_t kReadData = 0x06;
constexpr uint8_t kRecalibrate = 0x07;
constexpr uint8_t kSenseInterrupt = 0x08;
constexpr uint8_t kWriteDeleted = 0x09;
constexpr uint8_t kReadIdCommand = 0x0a;
constexpr uint8_t kReadDeleted = 0x0c;
constexpr uint8_t kFormatTrack = 0x0d;
constexpr uint8_t kDumpRegisters = 0x0e;
constexpr uint8_t kSeek = 0x0f;
constexpr uint8_t kVersion = 0x10;
constexpr uint8_t kPerpendicular = 0x12;
constexpr uint8_t kConfigure = 0x13;
constexpr uint8_t kLock = 0x14;

constexpr uint8_t kEnhancedController = 0x90;
constexpr uint8_t kInvalidCommand = 0x80;

// Status registers 0 to 3.
constexpr uint8_t kAbnormal = 1 << 6;
constexpr uint8_t kPollingReset = 0xc0;
constexpr uint8_t kSeekEnd = 1 << 5;
constexpr uint8_t kEndOfCylinder = 1 << 7;
constexpr uint8_t kDataError = 1 << 5;
constexpr uint8_t kOverrun = 1 << 4;
constexpr uint8_t kNoData = 1 << 2;
constexpr uint8_t kNotWritable = 1 << 1;
constexpr uint8_t kMissingAddress = 1 << 0;
constexpr uint8_t kWriteProtected = 1 << 6;
constexpr uint8_t kTrack0 = 1 << 4;
constexpr uint8_t kAlways3 = 0x28;  // Ready, two sides.

constexpr uint8_t kSizeCode512 = 2;
constexpr uint8_t kHeadBit = 1 << 2;

// How many bytes a command has, itself included.
size_t SizeOf(uint8_t command) {
  switch (command & kCommandMask) {
    case kReadTrack:
    case kWriteData:
    case kReadData:
    case kWriteDeleted:
    case kReadDeleted:
      return 9;
    case kFormatTrack:
      return 6;
    case kConfigure:
      return 4;
    case kSpecify:
    case kSeek:
      return 3;
    case kSenseDrive:
    case kRecalibrate:
    case kReadIdCommand:
    case kPerpendicular:
      return 2;
    default:
      return 1;
  }
}

}  // namespace

bool Controller::Enabled() const { return (digital_output_ & kNotReset) != 0; }

void Controller::Interrupt() {
  if ((digital_output_ & kInterruptsAndDma) == 0) return;
  interrupt_ = true;
  line_up_ = true;
}

bool Controller::TakeInterrupt() { return std::exchange(interrupt_, false); }

std::optional<Transfer> Controller::TakeTransfer() {
  return std::exchange(transfer_, std::nullopt);
}

uint8_t Controller::MainStatus() const {
  if (!Enabled()) return 0;
  switch (phase_) {
    case Phase::kExecution:
      return kBusy;
    case Phase::kResult:
      return kReady | kToHost | kBusy;
    case Phase::kCommand:
      break;
  }
  return command_size_ > 0 ? kReady | kBusy : kReady;
}

uint8_t Controller::DigitalInput() const {
  const size_t drive = digital_output_ & kDriveSelect;
  const bool motor_on = (digital_output_ >> (4 + drive) & 1) != 0;
  if (!motor_on || drive >= kDrives) return 0;
  return changed_[drive] ? kDiskChanged : 0;
}

uint8_t Controller::Read(uint64_t offset) {
  switch (offset) {
    case kStatusA:
    case kStatusB:
    case kTapeDrive:
      return 0;
    case kDigitalOutput:
      return digital_output_;
    case kMainStatus:
      return MainStatus();
    case kData:
      return ReadResult();
    case kDigitalInput:
      return DigitalInput();
    default:
      return 0xff;
  }
}

void Controller::Write(uint64_t offset, uint8_t value) {
  switch (offset) {
    case kDigitalOutput: {
      const bool was_enabled = Enabled();
      digital_output_ = value;
      if (was_enabled == Enabled()) return;
      Reset();
      if (Enabled()) {
        reset_reports_ = 4;
        Interrupt();
      }
      return;
    }
    case kMainStatus:
      rate_ = value & kRateMask;
      if ((value & kSoftwareReset) != 0 && Enabled()) {
        Reset();
        reset_reports_ = 4;
        Interrupt();
      }
      return;
    case kData:
      if (Enabled() && phase_ == Phase::kCommand) CommandByte(value);
      return;
    case kDigitalInput:
      rate_ = value & kRateMask;
      return;
    default:
      return;
  }
}

void Controller::Reset() {
  phase_ = Phase::kCommand;
  command_size_ = 0;
  seek_status_.reset();
  reset_reports_ = 0;
  interrupt_ = false;
  line_up_ = false;
  transfer_.reset();
  ++transfer_id_;
}

uint8_t Controller::ReadResult() {
  if (!Enabled() || phase_ != Phase::kResult) return 0;
  line_up_ = false;
  const uint8_t value = result_[result_read_++];
  if (result_read_ == result_size_) {
    phase_ = Phase::kCommand;
    command_size_ = 0;
  }
  return value;
}

void Controller::Result(std::initializer_list<uint8_t> bytes) {
  std::copy(bytes.begin(), bytes.end(), result_.begin());
  result_size_ = bytes.size();
  result_read_ = 0;
  phase_ = Phase::kResult;
}

void Controller::TransferResult(uint8_t st0, uint8_t st1, uint8_t st2, uint8_t cylinder,
                                uint8_t head, uint8_t sector) {
  const uint8_t selected = command_[1] & (kHeadBit | kDriveSelect);
  Result({static_cast<uint8_t>(st0 | selected), st1, st2, cylinder, head, sector, kSizeCode512});
  Interrupt();
}

void Controller::CommandByte(uint8_t value) {
  command_[command_size_++] = value;
  if (command_size_ < SizeOf(command_[0])) return;
  command_size_ = 0;
  Execute();
}

void Controller::Execute() {
  const uint8_t drive = command_[1] & kDriveSelect;
  switch (command_[0] & kCommandMask) {
    case kReadTrack:
    case kReadData:
    case kReadDeleted:
      StartTransfer(Transfer::Kind::kRead);
      return;
    case kWriteData:
    case kWriteDeleted:
      StartTransfer(Transfer::Kind::kWrite);
      return;
    case kFormatTrack:
      StartFormat();
      return;
    case kReadIdCommand:
      ReadId();
      return;
    case kSpecify:
    case kConfigure:
    case kPerpendicular:
      return;  // Timing and buffering, which there is none of.
    case kSenseDrive: {
      uint8_t status = kAlways3 | (command_[1] & (kHeadBit | kDriveSelect));
      if (position_[drive] == 0) status |= kTrack0;
      if (drive < kDrives && media_[drive].has_value() && media_[drive]->read_only) {
        status |= kWriteProtected;
      }
      Result({status});
      return;
    }
    case kRecalibrate:
      Seek(drive, 0);
      return;
    case kSeek:
      Seek(drive, command_[2]);
      return;
    case kSenseInterrupt:
      SenseInterrupt();
      return;
    case kVersion:
      Result({kEnhancedController});
      return;
    case kLock:
      Result({static_cast<uint8_t>((command_[0] & kMultiTrack) != 0 ? 0x10 : 0)});
      return;
    case kDumpRegisters:
      Result({position_[0], position_[1], position_[2], position_[3], 0, 0, 0, 0, 0, 0});
      return;
    default:
      Result({kInvalidCommand});
      return;
  }
}

void Controller::SenseInterrupt() {
  line_up_ = false;
  if (reset_reports_ > 0) {
    // After a reset each drive reports, in turn.
    const uint8_t drive = static_cast<uint8_t>(4 - reset_reports_);
    --reset_reports_;
    Result({static_cast<uint8_t>(kPollingReset | drive), position_[drive]});
    return;
  }
  if (seek_status_.has_value()) {
    const uint8_t status = *seek_status_;
    seek_status_.reset();
    Result({status, position_[status & kDriveSelect]});
    return;
  }
  Result({kInvalidCommand});
}

void Controller::Seek(uint8_t drive, uint8_t cylinder) {
  position_[drive] = cylinder;
  const bool has_medium = drive < kDrives && media_[drive].has_value();
  if (has_medium) changed_[drive] = false;  // A step with a diskette in the drive clears it.
  seek_status_ = static_cast<uint8_t>(kSeekEnd | drive | (drive < kDrives ? 0 : kAbnormal));
  Interrupt();
}

bool Controller::Readable(uint8_t drive) const {
  return drive < kDrives && media_[drive].has_value() &&
         (media_[drive]->geometry.rates >> rate_ & 1) != 0;
}

void Controller::ReadId() {
  const uint8_t drive = command_[1] & kDriveSelect;
  const uint8_t head = (command_[1] & kHeadBit) != 0 ? 1 : 0;
  if (!Readable(drive) || head >= media_[drive]->geometry.heads ||
      position_[drive] >= media_[drive]->geometry.cylinders) {
    TransferResult(kAbnormal, kMissingAddress, 0, position_[drive], head, 1);
    return;
  }
  TransferResult(0, 0, 0, position_[drive], head, 1);
}

void Controller::StartTransfer(Transfer::Kind kind) {
  const uint8_t drive = command_[1] & kDriveSelect;
  const uint8_t cylinder = command_[2];
  const uint8_t head = command_[3];
  const uint8_t sector = command_[4];
  if (!Readable(drive)) {
    TransferResult(kAbnormal, kMissingAddress, 0, cylinder, head, sector);
    return;
  }
  if (kind == Transfer::Kind::kWrite && media_[drive]->read_only) {
    TransferResult(kAbnormal, kNotWritable, 0, cylinder, head, sector);
    return;
  }
  const Geometry& geometry = media_[drive]->geometry;
  const uint8_t selected_head = (command_[1] & kHeadBit) != 0 ? 1 : 0;
  if (cylinder >= geometry.cylinders || head >= geometry.heads || head != selected_head ||
      sector < 1 || sector > geometry.sectors || command_[5] != kSizeCode512) {
    TransferResult(kAbnormal, kNoData, 0, cylinder, head, sector);
    return;
  }
  position_[drive] = cylinder;  // Firmware relies on seeks that the controller makes by itself.
  changed_[drive] = false;
  transfer_ = Transfer{.kind = kind,
                       .drive = drive,
                       .geometry = geometry,
                       .cylinder = cylinder,
                       .head = head,
                       .sector = sector,
                       .last_sector = command_[6],
                       .both_heads = (command_[0] & kMultiTrack) != 0,
                       .id = transfer_id_};
  phase_ = Phase::kExecution;
}

void Controller::StartFormat() {
  const uint8_t drive = command_[1] & kDriveSelect;
  const uint8_t head = (command_[1] & kHeadBit) != 0 ? 1 : 0;
  const uint8_t cylinder = position_[drive];
  if (!Readable(drive)) {
    TransferResult(kAbnormal, kMissingAddress, 0, cylinder, head, 1);
    return;
  }
  if (media_[drive]->read_only) {
    TransferResult(kAbnormal, kNotWritable, 0, cylinder, head, 1);
    return;
  }
  const Geometry& geometry = media_[drive]->geometry;
  // Another format than the diskette has cannot be written to an image of this size.
  if (cylinder >= geometry.cylinders || head >= geometry.heads || command_[2] != kSizeCode512 ||
      command_[3] != geometry.sectors) {
    TransferResult(kAbnormal, kMissingAddress, 0, cylinder, head, 1);
    return;
  }
  transfer_ = Transfer{.kind = Transfer::Kind::kFormat,
                       .drive = drive,
                       .geometry = geometry,
                       .cylinder = cylinder,
                       .head = head,
                       .sector = 1,
                       .last_sector = geometry.sectors,
                       .fill = command_[5],
                       .id = transfer_id_};
  phase_ = Phase::kExecution;
}

void Controller::Finish(uint32_t id, const Outcome& outcome) {
  if (phase_ != Phase::kExecution || id != transfer_id_) return;
  uint8_t st1 = 0;
  uint8_t st2 = 0;
  switch (outcome.error) {
    case Outcome::Error::kNone:
      break;
    case Outcome::Error::kUnreadable:
      st1 = kDataError;
      st2 = kDataError;
      break;
    case Outcome::Error::kOverrun:
      st1 = kOverrun;
      break;
    case Outcome::Error::kEndOfTrack:
      st1 = kEndOfCylinder;
      break;
    case Outcome::Error::kNoSector:
      st1 = kNoData;
      break;
  }
  const uint8_t st0 = outcome.error == Outcome::Error::kNone ? 0 : kAbnormal;
  TransferResult(st0, st1, st2, outcome.cylinder, outcome.head, outcome.sector);
}

}  // namespace hull::floppy
