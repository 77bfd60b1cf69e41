#include "vmm/devices/ata/disk.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

namespace hull::ata {

namespace {

constexpr uint32_t kMaxMultiple = 16;
constexpr uint64_t kMaxLba28 = (uint64_t{1} << 28) - 1;
constexpr uint32_t kActive = 0xff;  // CHECK POWER MODE.

}  // namespace

Disk::Disk(uint64_t sectors, bool read_only, const Geometry& geometry, std::string serial)
    : sectors_(sectors),
      read_only_(read_only),
      geometry_(geometry),
      serial_(std::move(serial)),
      current_(geometry) {
  Reset();
}

uint8_t Disk::IdleStatus() const { return kReady | kSeekComplete; }

void Disk::OnReset() {
  ahead_.clear();
  left_ = 0;
  multiple_ = 0;
  current_ = geometry_;
  write_through_ = false;
  ShowSignature(0, 0);
  SetStatus(IdleStatus());
}

void Disk::Execute(uint8_t command) {
  left_ = 0;
  then_fail_ = false;
  ahead_.clear();
  offered_ = 0;
  switch (command) {
    case kReadSectors:
    case kReadSectorsNoRetry:
      return StartTransfer(Kind::kRead, /*extended=*/false, 1);
    case kReadSectorsExt:
      return StartTransfer(Kind::kRead, /*extended=*/true, 1);
    case kReadMultiple:
      return StartTransfer(Kind::kRead, /*extended=*/false, multiple_);
    case kReadMultipleExt:
      return StartTransfer(Kind::kRead, /*extended=*/true, multiple_);
    case kWriteSectors:
    case kWriteSectorsNoRetry:
      return StartTransfer(Kind::kWrite, /*extended=*/false, 1);
    case kWriteSectorsExt:
      return StartTransfer(Kind::kWrite, /*extended=*/true, 1);
    case kWriteMultiple:
      return StartTransfer(Kind::kWrite, /*extended=*/false, multiple_);
    case kWriteMultipleExt:
      return StartTransfer(Kind::kWrite, /*extended=*/true, multiple_);
    case kVerify:
    case kVerifyNoRetry:
      return StartTransfer(Kind::kVerify, /*extended=*/false, 1);
    case kVerifyExt:
      return StartTransfer(Kind::kVerify, /*extended=*/true, 1);
    case kFlushCache:
    case kFlushCacheExt:
      if (read_only_) return Succeed();
      return Start({.kind = Job::Kind::kFlush, .data = {}});
    case kIdentifyDevice:
      return Identify();
    case kSetFeatures:
      return SetFeatures();
    case kSetMultipleMode:
      return SetMultiple();
    case kInitializeParameters:
      return InitializeParameters();
    case kReadNativeMax:
      return ShowNativeMax(/*extended=*/false);
    case kReadNativeMaxExt:
      return ShowNativeMax(/*extended=*/true);
    case kCheckPowerMode:
      registers().count.now = kActive;
      return Succeed();
    case kStandbyImmediate:
    case kIdleImmediate:
    case kStandby:
    case kIdle:
    case kSleep:
      return Succeed();  // Which there is none of.
    default:
      break;
  }
  const uint8_t group = command & 0xf0;
  if (group == kRecalibrate) return Succeed();
  if (group == kSeek) {
    return Address(/*extended=*/false).value_or(sectors_) < sectors_ ? Succeed() : Fail(kNotFound);
  }
  Fail(kAborted);
}

std::optional<uint64_t> Disk::Address(bool extended) const {
  const Registers& r = registers();
  const uint64_t low = r.lba_low.now;
  const uint64_t mid = r.lba_mid.now;
  const uint64_t high = r.lba_high.now;
  const uint64_t head = r.device & kHeadMask;
  if (extended) {
    return low | mid << 8 | high << 16 | uint64_t{r.lba_low.before} << 24 |
           uint64_t{r.lba_mid.before} << 32 | uint64_t{r.lba_high.before} << 40;
  }
  if ((r.device & kUseLba) != 0) return low | mid << 8 | high << 16 | head << 24;
  const uint64_t cylinder = mid | high << 8;
  if (low == 0 || low > current_.sectors || head >= current_.heads) return std::nullopt;
  return (cylinder * current_.heads + head) * current_.sectors + low - 1;
}

std::optional<Disk::Range> Disk::RangeOf(bool extended) const {
  const std::optional<uint64_t> first = Address(extended);
  const Registers& r = registers();
  uint32_t count = r.count.now;
  if (extended) count |= uint32_t{r.count.before} << 8;
  if (count == 0) count = extended ? 0x10000 : 0x100;
  if (!first.has_value() || *first >= sectors_) return std::nullopt;
  return Range{*first, count};
}

void Disk::ShowAddress(uint64_t sector) {
  Registers& r = registers();
  if (extended_) {
    r.lba_low = {static_cast<uint8_t>(sector), static_cast<uint8_t>(sector >> 24)};
    r.lba_mid = {static_cast<uint8_t>(sector >> 8), static_cast<uint8_t>(sector >> 32)};
    r.lba_high = {static_cast<uint8_t>(sector >> 16), static_cast<uint8_t>(sector >> 40)};
    return;
  }
  uint64_t head = sector >> 24;
  if ((r.device & kUseLba) == 0) {
    const uint64_t track = sector / current_.sectors;
    head = track % current_.heads;
    sector = (sector % current_.sectors + 1) | track / current_.heads << 8;
  }
  r.lba_low.now = static_cast<uint8_t>(sector);
  r.lba_mid.now = static_cast<uint8_t>(sector >> 8);
  r.lba_high.now = static_cast<uint8_t>(sector >> 16);
  r.device = static_cast<uint8_t>((r.device & ~kHeadMask) | (head & kHeadMask));
}

void Disk::StartTransfer(Kind kind, bool extended, uint32_t block_sectors) {
  if (block_sectors == 0) return Fail(kAborted);  // SET MULTIPLE MODE did not come before.
  if (kind == Kind::kWrite && read_only_) return Fail(kAborted);
  const std::optional<Range> range = RangeOf(extended);
  if (!range.has_value()) return Fail(kNotFound);
  kind_ = kind;
  extended_ = extended;
  next_ = range->first;
  left_ = range->count;
  block_sectors_ = block_sectors;
  if (kind == Kind::kWrite) return AwaitOn();
  ReadOn();
}

void Disk::ReadOn() {
  if (next_ >= sectors_) {
    ShowAddress(next_);
    return Fail(kNotFound);
  }
  const uint64_t count = std::min({uint64_t{left_}, sectors_ - next_, kMaxJobSize / kSectorSize});
  Start({.kind = Job::Kind::kRead,
         .offset = next_ * kSectorSize,
         .size = static_cast<size_t>(count) * kSectorSize,
         .data = {}});
}

void Disk::AwaitOn() {
  if (next_ >= sectors_) {
    ShowAddress(next_);
    return Fail(kNotFound);
  }
  const uint64_t count = std::min({uint64_t{left_}, sectors_ - next_, uint64_t{block_sectors_}});
  AwaitBlock(static_cast<size_t>(count) * kSectorSize);
}

void Disk::OnBlockWritten(std::vector<uint8_t> block) {
  Start({.kind = Job::Kind::kWrite,
         .offset = next_ * kSectorSize,
         .data = std::move(block),
         .then_flush = write_through_});
}

void Disk::OnFinished(Outcome outcome) {
  if (left_ == 0) return outcome.ok ? Succeed() : Fail(kAborted);  // A flush.
  if (kind_ == Kind::kWrite) {
    const uint32_t written = static_cast<uint32_t>(
        std::min({uint64_t{left_}, sectors_ - next_, uint64_t{block_sectors_}}));
    if (!outcome.ok) {
      left_ = 0;
      ShowAddress(next_);
      return Fail(kUncorrectable);
    }
    next_ += written;
    left_ -= written;
    if (left_ == 0) {
      ShowAddress(next_ - 1);
      registers().count = {};
      return Succeed();
    }
    AwaitOn();
    return RequestInterrupt();
  }
  const uint32_t count = static_cast<uint32_t>(outcome.data.size() / kSectorSize);
  next_ += count;
  left_ -= count;
  then_fail_ = !outcome.ok;
  ahead_ = std::move(outcome.data);
  offered_ = kind_ == Kind::kVerify ? ahead_.size() : 0;
  OfferSectors();
}

// Offers what was read ahead; behind it comes the end, an error, or more.
void Disk::OfferSectors() {
  if (offered_ < ahead_.size()) {
    const size_t size = std::min(ahead_.size() - offered_, block_sectors_ * kSectorSize);
    const std::span<const uint8_t> block = std::span(ahead_).subspan(offered_, size);
    offered_ += size;
    return OfferBlock(block);
  }
  if (then_fail_) {
    left_ = 0;
    ShowAddress(next_);
    return Fail(kUncorrectable);
  }
  if (left_ > 0) return ReadOn();
  if (kind_ == Kind::kVerify) {
    ShowAddress(next_ - 1);
    return Succeed();
  }
  SucceedQuietly();
}

void Disk::OnBlockRead() {
  // Nothing was read ahead where the block was the disk's identity.
  if (!ahead_.empty() && offered_ == ahead_.size() && left_ == 0 && !then_fail_) {
    ShowAddress(next_ - 1);
    registers().count = {};
  }
  OfferSectors();
}

void Disk::Identify() {
  std::array<uint8_t, kIdentifySize> data = {};
  const auto put = [&data](size_t word, uint64_t value) {
    PutWord(data, word, static_cast<uint32_t>(value & 0xffff));
  };
  const uint64_t lba28 = std::min(sectors_, kMaxLba28);
  const uint64_t chs = std::min<uint64_t>(
      sectors_, uint64_t{current_.cylinders} * current_.heads * current_.sectors);
  put(0, 0x0040);  // A fixed disk.
  put(1, geometry_.cylinders);
  put(3, geometry_.heads);
  put(6, geometry_.sectors);
  PutText(data, 10, 10, serial_);
  PutText(data, 23, 4, "1.0");
  PutText(data, 27, 20, "HULL DISK");
  put(47, 0x8000 | kMaxMultiple);
  put(49, 0x0200);  // LBA, no DMA.
  put(51, 0x0200);  // PIO mode 2, for those who know no word 64.
  put(53, 0x0003);  // The words 54 to 58 and 64 to 70 are valid.
  put(54, current_.cylinders);
  put(55, current_.heads);
  put(56, current_.sectors);
  put(57, chs);
  put(58, chs >> 16);
  put(59, multiple_ == 0 ? 0 : 0x0100 | multiple_);
  put(60, lba28);
  put(61, lba28 >> 16);
  put(64, 0x0003);  // PIO modes 3 and 4.
  put(67, 120);     // Nanoseconds of a cycle.
  put(68, 120);
  put(80, 0x0070);  // ATA/ATAPI-4 to 6.
  put(82, 0x0060);  // A write cache, look-ahead.
  put(83, 0x7400);  // FLUSH CACHE, FLUSH CACHE EXT, 48-bit addresses.
  put(84, 0x4000);
  put(85, write_through_ ? 0x0040 : 0x0060);
  put(86, 0x3400);
  put(87, 0x4000);
  for (size_t i = 0; i < 4; ++i) put(100 + i, sectors_ >> (16 * i));
  OfferBlock(data);
}

void Disk::SetFeatures() {
  switch (registers().features.now) {
    case kEnableWriteCache:
      write_through_ = false;
      return Succeed();
    case kDisableWriteCache:
      write_through_ = true;
      return Succeed();
    case kSetTransferMode:
      return IsPioMode(registers().count.now) ? Succeed() : Fail(kAborted);
    case kEnableReadAhead:
    case kDisableReadAhead:
    case kKeepSettings:
    case kRevertSettings:
      return Succeed();
    default:
      return Fail(kAborted);
  }
}

void Disk::SetMultiple() {
  const uint32_t count = registers().count.now;
  if (count > kMaxMultiple || (count != 0 && !std::has_single_bit(count))) {
    multiple_ = 0;
    return Fail(kAborted);
  }
  multiple_ = count;
  Succeed();
}

void Disk::InitializeParameters() {
  const uint8_t sectors = registers().count.now;
  const auto heads = static_cast<uint8_t>((registers().device & kHeadMask) + 1);
  if (sectors == 0) return Fail(kAborted);
  const uint64_t cylinders = sectors_ / (uint64_t{heads} * sectors);
  current_ = {.cylinders = static_cast<uint16_t>(std::min<uint64_t>(cylinders, 0xffff)),
              .heads = heads,
              .sectors = sectors};
  Succeed();
}

void Disk::ShowNativeMax(bool extended) {
  if ((registers().device & kUseLba) == 0) return Fail(kAborted);
  extended_ = extended;
  ShowAddress(extended ? sectors_ - 1 : std::min(sectors_ - 1, kMaxLba28));
  Succeed();
}

}  // namespace hull::ata
