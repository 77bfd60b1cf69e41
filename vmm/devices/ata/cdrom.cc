#include "vmm/devices/ata/cdrom.h"

#include <algorithm>
#include <array>
#include <utility>

namespace hull::ata {

namespace {

// Operation codes.
constexpr uint8_t kTestUnitReady = 0x00;
constexpr uint8_t kRequestSense = 0x03;
constexpr uint8_t kInquiry = 0x12;
constexpr uint8_t kStartStop = 0x1b;
constexpr uint8_t kPreventRemoval = 0x1e;
constexpr uint8_t kReadCapacity = 0x25;
constexpr uint8_t kRead10 = 0x28;
constexpr uint8_t kSeek10 = 0x2b;
constexpr uint8_t kReadToc = 0x43;
constexpr uint8_t kGetEventStatus = 0x4a;
constexpr uint8_t kModeSense10 = 0x5a;
constexpr uint8_t kRead12 = 0xa8;

// Sense keys.
constexpr uint8_t kNotReady = 2;
constexpr uint8_t kMediumError = 3;
constexpr uint8_t kIllegalRequest = 5;
constexpr uint8_t kUnitAttention = 6;

// The signature of a packet device.
constexpr uint8_t kSignatureMid = 0x14;
constexpr uint8_t kSignatureHigh = 0xeb;

constexpr uint8_t kWantsDma = 1 << 0;  // Features register of PACKET.
constexpr uint8_t kLeadOut = 0xaa;     // Its track number.
constexpr uint8_t kDataTrack = 0x14;   // Control and ADR fields.
constexpr uint32_t kPregap = 150;      // Frames before the first: minute 0, second 2.
constexpr uint32_t kFramesPerSecond = 75;
constexpr size_t kSenseSize = 18;
constexpr uint8_t kFixedSense = 0x70;

uint32_t Big16(std::span<const uint8_t> bytes) { return uint32_t{bytes[0]} << 8 | bytes[1]; }
uint32_t Big32(std::span<const uint8_t> bytes) {
  return Big16(bytes) << 16 | Big16(bytes.subspan(2));
}
void PutBig16(std::vector<uint8_t>& to, uint32_t value) {
  to.push_back(static_cast<uint8_t>(value >> 8));
  to.push_back(static_cast<uint8_t>(value));
}
void PutBig32(std::vector<uint8_t>& to, uint32_t value) {
  PutBig16(to, value >> 16);
  PutBig16(to, value);
}

// A sector's address in a table of contents: a number, or minutes, seconds and frames.
void PutAddress(std::vector<uint8_t>& to, uint32_t sector, bool as_time) {
  if (!as_time) return PutBig32(to, sector);
  const uint32_t frames = sector + kPregap;
  to.push_back(0);
  to.push_back(static_cast<uint8_t>(frames / kFramesPerSecond / 60));
  to.push_back(static_cast<uint8_t>(frames / kFramesPerSecond % 60));
  to.push_back(static_cast<uint8_t>(frames % kFramesPerSecond));
}

}  // namespace

Cdrom::Cdrom(uint32_t sectors, std::string serial) : sectors_(sectors), serial_(std::move(serial)) {
  Reset();
}

uint8_t Cdrom::IdleStatus() const { return kReady | kSeekComplete; }

void Cdrom::OnReset() {
  data_.clear();
  left_ = 0;
  locked_ = false;
  ShowSignature(kSignatureMid, kSignatureHigh);
  SetStatus(0);  // Not ready, in the sense of the bit, before its first command.
}

void Cdrom::Execute(uint8_t command) {
  switch (command) {
    case kDeviceReset:
      return Reset();
    case kIdentifyPacketDevice:
      return Identify();
    case kPacket:
      return StartPacket();
    case kIdentifyDevice:
      // How those who look for disks learn that this is none.
      ShowSignature(kSignatureMid, kSignatureHigh);
      return Fail(kAborted);
    case kSetFeatures:
      if (registers().features.now == kSetTransferMode && !IsPioMode(registers().count.now)) {
        return Fail(kAborted);
      }
      return Succeed();
    case kStandbyImmediate:
    case kIdleImmediate:
    case kStandby:
    case kIdle:
    case kSleep:
      return Succeed();
    case kCheckPowerMode:
      registers().count.now = 0xff;
      return Succeed();
    default:
      return Fail(kAborted);
  }
}

void Cdrom::Identify() {
  std::array<uint8_t, kIdentifySize> data = {};
  PutWord(data, 0, 0x85c0);  // ATAPI, CD-ROM, removable; DRQ within 50 us; packets of 12 bytes.
  PutText(data, 10, 10, serial_);
  PutText(data, 23, 4, "1.0");
  PutText(data, 27, 20, "HULL CD-ROM");
  PutWord(data, 49, 0x0200);  // LBA, no DMA.
  PutWord(data, 51, 0x0200);
  PutWord(data, 53, 0x0002);
  PutWord(data, 64, 0x0003);
  PutWord(data, 67, 120);
  PutWord(data, 68, 120);
  PutWord(data, 80, 0x0070);
  PutWord(data, 82, 0x0210);  // PACKET, DEVICE RESET.
  PutWord(data, 83, 0x4000);
  PutWord(data, 85, 0x0210);
  data_.clear();
  offered_ = 0;
  left_ = 0;
  block_limit_ = 0;
  OfferBlock(data);
}

void Cdrom::StartPacket() {
  if ((registers().features.now & kWantsDma) != 0) return Fail(kAborted);
  const size_t limit = registers().lba_mid.now | registers().lba_high.now << 8;
  // An odd limit would leave half a word at the end of each block.
  block_limit_ = limit < 2 ? 0xfffe : limit & ~size_t{1};
  data_.clear();
  offered_ = 0;
  left_ = 0;
  then_fail_ = false;
  registers().count.now = kIsCommand;
  AwaitBlock(kPacketSize);
}

void Cdrom::OnBlockWritten(std::vector<uint8_t> packet) {
  ExecutePacket(std::span<const uint8_t, kPacketSize>(packet));
}

void Cdrom::Done() {
  registers().count.now = kIsCommand | kToHost;
  Succeed();
}

void Cdrom::Check(const Sense& sense) {
  sense_ = sense;
  registers().count.now = kIsCommand | kToHost;
  Fail(static_cast<uint8_t>(sense.key << 4 | kAborted));
}

void Cdrom::Reply(std::vector<uint8_t> data, uint32_t allocated) {
  if (data.size() > allocated) data.resize(allocated);
  data_ = std::move(data);
  Offer();
}

void Cdrom::Offer() {
  if (offered_ < data_.size()) {
    const size_t size = std::min(data_.size() - offered_, block_limit_);
    registers().count.now = kToHost;
    registers().lba_mid.now = static_cast<uint8_t>(size);
    registers().lba_high.now = static_cast<uint8_t>(size >> 8);
    const std::span<const uint8_t> block = std::span(data_).subspan(offered_, size);
    offered_ += size;
    return OfferBlock(block);
  }
  if (then_fail_) return Check({kMediumError, 0x11, 0});  // Unrecovered read error.
  if (left_ > 0) return ReadOn();
  Done();
}

void Cdrom::OnBlockRead() {
  // The identity is no part of a packet command.
  if (block_limit_ == 0) return SucceedQuietly();
  Offer();
}

void Cdrom::ReadSectors(uint32_t first, uint32_t count) {
  if (first >= sectors_ || count > sectors_ - first) {
    return Check({kIllegalRequest, 0x21, 0});  // Address out of range.
  }
  if (count == 0) return Done();
  next_ = first;
  left_ = count;
  ReadOn();
}

void Cdrom::ReadOn() {
  const uint32_t count = std::min(left_, static_cast<uint32_t>(kMaxJobSize / kCdSectorSize));
  Start({.kind = Job::Kind::kRead,
         .offset = uint64_t{next_} * kCdSectorSize,
         .size = count * kCdSectorSize,
         .data = {}});
}

void Cdrom::OnFinished(Outcome outcome) {
  // Half a sector of the disc's is none.
  const auto count = static_cast<uint32_t>(outcome.data.size() / kCdSectorSize);
  next_ += count;
  left_ -= count;
  then_fail_ = !outcome.ok;
  data_ = std::move(outcome.data);
  data_.resize(count * kCdSectorSize);
  offered_ = 0;
  Offer();
}

void Cdrom::ExecutePacket(std::span<const uint8_t, kPacketSize> packet) {
  const uint8_t operation = packet[0];
  // These two work whatever the state of the disc.
  if (operation == kRequestSense) return RequestSense(packet[4]);
  if (operation == kInquiry) return Inquiry(Big16(packet.subspan(3)));
  if (changed_ && operation != kGetEventStatus) {
    changed_ = false;
    return Check({kUnitAttention, 0x28, 0});  // The medium may have changed.
  }
  switch (operation) {
    case kStartStop:
      return StartStop(packet[4]);
    case kPreventRemoval:
      locked_ = (packet[4] & 1) != 0;
      return Done();
    case kModeSense10:
      return ModeSense(packet);
    case kGetEventStatus: {
      if ((packet[1] & 1) == 0)
        return Check({kIllegalRequest, 0x24, 0});  // It does not tell later.
      // No event of the class "media", and whether there is a disc.
      const auto present = static_cast<uint8_t>(loaded_ ? 2 : 1);
      if ((packet[4] & 0x10) == 0) return Reply({0, 2, 0x80, 0x10}, Big16(packet.subspan(7)));
      return Reply({0, 6, 4, 0x10, 0, present, 0, 0}, Big16(packet.subspan(7)));
    }
    default:
      break;
  }
  if (!loaded_) return Check({kNotReady, 0x3a, 2});  // No medium: the tray is open.
  switch (operation) {
    case kTestUnitReady:
      return Done();
    case kReadCapacity: {
      std::vector<uint8_t> data;
      PutBig32(data, sectors_ - 1);
      PutBig32(data, kCdSectorSize);
      return Reply(std::move(data), 8);
    }
    case kRead10:
      return ReadSectors(Big32(packet.subspan(2)), Big16(packet.subspan(7)));
    case kRead12:
      return ReadSectors(Big32(packet.subspan(2)), Big32(packet.subspan(6)));
    case kSeek10:
      if (Big32(packet.subspan(2)) >= sectors_) return Check({kIllegalRequest, 0x21, 0});
      return Done();
    case kReadToc:
      return ReadToc(packet);
    default:
      return Check({kIllegalRequest, 0x20, 0});  // No such operation.
  }
}

void Cdrom::StartStop(uint8_t operation) {
  const bool load_or_eject = (operation & 2) != 0;
  const bool start = (operation & 1) != 0;
  if (load_or_eject && !start) {
    if (locked_) return Check({kIllegalRequest, 0x53, 2});  // Removal is prevented.
    loaded_ = false;
  } else if (load_or_eject && !loaded_) {
    loaded_ = true;
    changed_ = true;
  }
  Done();
}

void Cdrom::RequestSense(uint32_t allocated) {
  std::vector<uint8_t> data(kSenseSize);
  data[0] = kFixedSense;
  data[2] = sense_.key;
  data[7] = kSenseSize - 8;
  data[12] = sense_.code;
  data[13] = sense_.qualifier;
  sense_ = {};
  Reply(std::move(data), allocated);
}

void Cdrom::Inquiry(uint32_t allocated) {
  std::vector<uint8_t> data = {0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0};  // CD-ROM, removable.
  const std::string text = "HULL    CD-ROM          1.0 ";
  data.insert(data.end(), text.begin(), text.end());
  Reply(std::move(data), allocated);
}

void Cdrom::ReadToc(std::span<const uint8_t, kPacketSize> packet) {
  const bool as_time = (packet[1] & 2) != 0;
  // The format was in the packet's last byte before MMC.
  const int format = (packet[2] & 0xf) != 0 ? packet[2] & 0xf : packet[9] >> 6;
  const uint8_t from = packet[6];
  std::vector<uint8_t> data = {0, 0, 1, 1};  // Its length, the first track, the last.
  if (format == 0) {
    if (from > 1 && from != kLeadOut) return Check({kIllegalRequest, 0x24, 0});
    if (from <= 1) {
      data.insert(data.end(), {0, kDataTrack, 1, 0});
      PutAddress(data, 0, as_time);
    }
    data.insert(data.end(), {0, kDataTrack, kLeadOut, 0});
    PutAddress(data, sectors_, as_time);
  } else if (format == 1) {  // The sessions, of which there is one.
    data.insert(data.end(), {0, kDataTrack, 1, 0});
    PutAddress(data, 0, as_time);
  } else {
    return Check({kIllegalRequest, 0x24, 0});
  }
  data[1] = static_cast<uint8_t>(data.size() - 2);
  Reply(std::move(data), Big16(packet.subspan(7)));
}

void Cdrom::ModeSense(std::span<const uint8_t, kPacketSize> packet) {
  constexpr uint8_t kRecovery = 0x01;
  constexpr uint8_t kCapabilities = 0x2a;
  constexpr uint8_t kAll = 0x3f;
  const uint8_t page = packet[2] & 0x3f;
  if (packet[2] >> 6 == 3) return Check({kIllegalRequest, 0x39, 0});  // None are saved.
  std::vector<uint8_t> data = {0, 0, static_cast<uint8_t>(loaded_ ? 0x01 : 0x71), 0, 0, 0, 0, 0};
  if (page == kRecovery || page == kAll) data.insert(data.end(), {kRecovery, 6, 0, 5, 0, 0, 0, 0});
  if (page == kCapabilities || page == kAll) {
    data.insert(data.end(), {kCapabilities, 18, 0, 0, 0x00, 0x00});
    // It can be locked and ejected, and has a tray; whether it is locked.
    data.push_back(static_cast<uint8_t>(0x29 | (locked_ ? 2 : 0)));
    data.push_back(0);
    PutBig16(data, 706);  // The old unit of speed, kB/s: fourfold.
    PutBig16(data, 0);
    PutBig16(data, 512);  // KiB of buffer.
    PutBig16(data, 706);
    data.insert(data.end(), {0, 0, 0, 0});
  }
  if (data.size() == 8) return Check({kIllegalRequest, 0x24, 0});
  data[1] = static_cast<uint8_t>(data.size() - 2);
  Reply(std::move(data), Big16(packet.subspan(7)));
}

}  // namespace hull::ata
