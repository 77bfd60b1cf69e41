#include "vmm/devices/vga/adapter.h"

#include <algorithm>

namespace hull::vga {

namespace {

constexpr absl::Duration kLineTime = absl::Nanoseconds(31778);  // 31.469 kHz
constexpr int64_t kActivePart = 800;  // Of 1000 parts of a line; the rest is blank.
constexpr int64_t kLineParts = 1000;
constexpr int kMinimumLines = 100;

constexpr uint8_t kSwitchSense = 1 << 4;
constexpr uint8_t kDacReads = 3;
constexpr uint8_t kDacWrites = 0;
constexpr uint8_t kDacBits = 0x3f;

// Of the miscellaneous graphics register: which part of the window answers.
constexpr uint8_t kMapShift = 2;
constexpr uint8_t kMapMaskBits = 3;
constexpr uint64_t kHalfWindow = 0x10000;
constexpr uint64_t kTextSize = 0x8000;

uint8_t RotateRight(uint8_t value, int count) {
  return static_cast<uint8_t>(value >> count | value << ((8 - count) & 7));
}

// The graphics controller's logical operation (bits 3 and 4 of the data rotate register).
uint8_t Combine(uint8_t operation, uint8_t value, uint8_t latch) {
  switch (operation & 3) {
    case 1:
      return value & latch;
    case 2:
      return value | latch;
    case 3:
      return value ^ latch;
    default:
      return value;
  }
}

uint8_t Expand(uint8_t bits, size_t plane) { return (bits >> plane & 1) != 0 ? 0xff : 0x00; }

}  // namespace

bool Adapter::IsCrtcPort(uint16_t port) const {
  const uint16_t base = (state_.misc & kMiscColour) != 0 ? kColourCrtcIndex : kMonoCrtcIndex;
  return port >= base && port <= base + (kColourStatus - kColourCrtcIndex);
}

uint8_t Adapter::InputStatus(absl::Duration now) {
  attribute_data_next_ = false;
  const uint8_t overflow = state_.crtc[kOverflow];
  const int total =
      2 + state_.crtc[kVerticalTotal] + (overflow & 1) * 256 + (overflow >> 5 & 1) * 512;
  const int retrace =
      state_.crtc[kRetraceStart] + (overflow >> 2 & 1) * 256 + (overflow >> 7 & 1) * 512;
  const int shown =
      1 + state_.crtc[kVerticalEnd] + (overflow >> 1 & 1) * 256 + (overflow >> 6 & 1) * 512;
  const int lines = total < kMinimumLines ? kMinimumLines : total;
  absl::Duration into_frame;
  absl::IDivDuration(now, kLineTime * lines, &into_frame);
  absl::Duration into_line;
  const int64_t line = absl::IDivDuration(into_frame, kLineTime, &into_line);
  uint8_t status = 0;
  if (line >= shown || into_line * kLineParts >= kLineTime * kActivePart) {
    status |= kDisplayDisabled;
  }
  // Until the end of the frame, and not for two lines alone as a monitor has it: a vCPU that polls
  // for it by an exit each time does not miss it.
  if (line >= (retrace < lines ? retrace : lines - 2)) {
    status |= kVerticalRetrace | kDisplayDisabled;
  }
  return status;
}

uint8_t Adapter::ReadPort(uint16_t port, absl::Duration now) {
  if (IsCrtcPort(port)) {
    switch (port & 0xf) {
      case kColourCrtcIndex & 0xf:
        return crtc_index_;
      case (kColourCrtcIndex & 0xf) + 1:
        return crtc_index_ < kCrtcRegisters ? state_.crtc[crtc_index_] : uint8_t{0};
      case kColourStatus & 0xf:
        return InputStatus(now);
      default:
        return 0xff;
    }
  }
  switch (port) {
    case kAttribute:
      return static_cast<uint8_t>(attribute_index_ | (state_.palette_on ? kPaletteSource : 0));
    case kAttributeRead:
      return state_.attribute[attribute_index_];
    case kMiscWrite:
      return kSwitchSense;
    case kEnable:
      return 1;
    case kSequencerIndex:
      return sequencer_index_;
    case kSequencerData:
      return sequencer_index_ < kSequencerRegisters ? state_.sequencer[sequencer_index_]
                                                    : uint8_t{0};
    case kDacMask:
      return state_.dac_mask;
    case kDacReadIndex:
      return dac_reading_ ? kDacReads : kDacWrites;
    case kDacWriteIndex:
      return dac_index_;
    case kDacData:
      return ReadDac();
    case kFeatureRead:
      return 0;
    case kMiscRead:
      return state_.misc;
    case kGraphicsIndex:
      return graphics_index_;
    case kGraphicsData:
      return graphics_index_ < kGraphicsRegisters ? state_.graphics[graphics_index_] : uint8_t{0};
    default:
      return 0xff;
  }
}

void Adapter::WritePort(uint16_t port, uint8_t value) {
  if (IsCrtcPort(port)) {
    if ((port & 0xf) == (kColourCrtcIndex & 0xf)) crtc_index_ = value;
    if ((port & 0xf) == (kColourCrtcIndex & 0xf) + 1) WriteCrtc(value);
    return;
  }
  switch (port) {
    case kAttribute:
      WriteAttribute(value);
      return;
    case kMiscWrite:
      state_.misc = value;
      return;
    case kSequencerIndex:
      sequencer_index_ = value;
      return;
    case kSequencerData:
      if (sequencer_index_ < kSequencerRegisters) state_.sequencer[sequencer_index_] = value;
      return;
    case kDacMask:
      state_.dac_mask = value;
      return;
    case kDacReadIndex:
    case kDacWriteIndex:
      dac_index_ = value;
      dac_component_ = 0;
      dac_reading_ = port == kDacReadIndex;
      return;
    case kDacData:
      WriteDac(value);
      return;
    case kGraphicsIndex:
      graphics_index_ = value;
      return;
    case kGraphicsData:
      if (graphics_index_ < kGraphicsRegisters) state_.graphics[graphics_index_] = value;
      return;
    default:
      return;
  }
}

void Adapter::WriteAttribute(uint8_t value) {
  attribute_data_next_ = !attribute_data_next_;
  if (attribute_data_next_) {
    attribute_index_ = value & (kAttributeRegisters - 1);
    state_.palette_on = (value & kPaletteSource) != 0;
    return;
  }
  state_.attribute[attribute_index_] = value;
}

void Adapter::WriteCrtc(uint8_t value) {
  if (crtc_index_ >= kCrtcRegisters) return;
  uint8_t& reg = state_.crtc[crtc_index_];
  if (crtc_index_ <= kOverflow && (state_.crtc[kRetraceEnd] & kWriteProtect) != 0) {
    // But for one bit of the line compare register, which stays writable.
    if (crtc_index_ != kOverflow) return;
    value = static_cast<uint8_t>((reg & ~kOverflowLineCompare) | (value & kOverflowLineCompare));
  }
  reg = value;
}

void Adapter::WriteDac(uint8_t value) {
  state_.dac[size_t{dac_index_} * 3 + dac_component_] =
      state_.vbe.EightBitDac() ? value : static_cast<uint8_t>(value & kDacBits);
  if (++dac_component_ < 3) return;
  dac_component_ = 0;
  ++dac_index_;
}

uint8_t Adapter::ReadDac() {
  const uint8_t value = state_.dac[size_t{dac_index_} * 3 + dac_component_];
  if (++dac_component_ == 3) {
    dac_component_ = 0;
    ++dac_index_;
  }
  return value;
}

std::optional<uint32_t> Adapter::MapWindow(uint64_t offset) const {
  if (offset >= kWindowSize || (state_.misc & kMiscMemoryEnabled) == 0) return std::nullopt;
  switch (state_.graphics[kMiscGraphics] >> kMapShift & kMapMaskBits) {
    case 0:  // All of the window: its halves are the same memory, as a plane is as large as one.
      return static_cast<uint32_t>(offset % kPlaneSize);
    case 1:
      if (offset >= kHalfWindow) return std::nullopt;
      return static_cast<uint32_t>(offset);
    case 2:
      if (offset < kHalfWindow || offset >= kHalfWindow + kTextSize) return std::nullopt;
      return static_cast<uint32_t>(offset - kHalfWindow);
    default:
      if (offset < kHalfWindow + kTextSize) return std::nullopt;
      return static_cast<uint32_t>(offset - kHalfWindow - kTextSize);
  }
}

void Adapter::WriteVbe(bool data, uint16_t value) {
  if (!data) return state_.vbe.WriteIndex(value);
  const bool eight_bits = state_.vbe.EightBitDac();
  if (state_.vbe.WriteData(value)) {
    std::fill_n(frame_buffer_.begin(), state_.vbe.Size(), uint8_t{0});
  }
  if (eight_bits == state_.vbe.EightBitDac()) return;
  for (uint8_t& colour : state_.dac) {
    colour = static_cast<uint8_t>(eight_bits ? colour >> 2 : colour << 2);
  }
}

State Adapter::Snapshot() const {
  State state = state_;
  if (state.vbe.Linear()) {
    // The guest may be drawing: what is torn is pixels.
    const auto seen = frame_buffer_.subspan(state.vbe.Start(), state.vbe.Size());
    state.frame.assign(seen.begin(), seen.end());
  }
  return state;
}

uint8_t Adapter::ReadMemory(uint64_t offset) {
  if (state_.vbe.Linear()) {
    return offset < kVbeBankSize ? frame_buffer_[state_.vbe.BankStart() + offset] : uint8_t{0xff};
  }
  const std::optional<uint32_t> mapped = MapWindow(offset);
  if (!mapped.has_value()) return 0xff;
  uint32_t address = *mapped;
  size_t plane = state_.graphics[kReadMapSelect] & 3;
  if ((state_.sequencer[kMemoryMode] & kChain4) != 0) {
    plane = address & 3;
    address &= ~3u;
  } else if ((state_.graphics[kGraphicsMode] & kOddEvenRead) != 0) {
    plane = (plane & 2) | (address & 1);
    address &= ~1u;
  }
  for (size_t i = 0; i < kPlanes; ++i) latches_[i] = Byte(address, i);
  if ((state_.graphics[kGraphicsMode] & kReadMode1) == 0) return latches_[plane];
  // Which pixels have the colour that is looked for, in the planes that count.
  uint8_t match = 0xff;
  for (size_t i = 0; i < kPlanes; ++i) {
    if ((state_.graphics[kColourDontCare] >> i & 1) == 0) continue;
    match &= static_cast<uint8_t>(~(latches_[i] ^ Expand(state_.graphics[kColourCompare], i)));
  }
  return match;
}

void Adapter::WriteMemory(uint64_t offset, uint8_t value) {
  if (state_.vbe.Linear()) {
    if (offset < kVbeBankSize) frame_buffer_[state_.vbe.BankStart() + offset] = value;
    return;
  }
  const std::optional<uint32_t> mapped = MapWindow(offset);
  if (!mapped.has_value()) return;
  uint32_t address = *mapped;
  uint8_t planes = state_.sequencer[kMapMask] & 0xf;
  if ((state_.sequencer[kMemoryMode] & kChain4) != 0) {
    planes &= static_cast<uint8_t>(1 << (address & 3));
    address &= ~3u;
  } else if ((state_.sequencer[kMemoryMode] & kOddEvenOff) == 0) {
    planes &= (address & 1) != 0 ? 0b1010 : 0b0101;
    address &= ~1u;
  }
  WritePlanes(address, planes, value);
}

void Adapter::WritePlanes(uint32_t address, uint8_t planes, uint8_t value) {
  const auto& graphics = state_.graphics;
  const uint8_t operation = graphics[kDataRotate] >> 3;
  const uint8_t rotated = RotateRight(value, graphics[kDataRotate] & 7);
  const uint8_t mode = graphics[kGraphicsMode] & 3;
  for (size_t i = 0; i < kPlanes; ++i) {
    if ((planes >> i & 1) == 0) continue;
    uint8_t& byte = state_.memory[4 * size_t{address} + i];
    const uint8_t latch = latches_[i];
    uint8_t mask = graphics[kBitMask];
    uint8_t source;
    switch (mode) {
      case 0:
        source =
            (graphics[kEnableSetReset] >> i & 1) != 0 ? Expand(graphics[kSetReset], i) : rotated;
        source = Combine(operation, source, latch);
        break;
      case 1:
        byte = latch;
        continue;
      case 2:
        source = Combine(operation, Expand(value, i), latch);
        break;
      default:
        mask &= rotated;
        source = Expand(graphics[kSetReset], i);
        break;
    }
    byte = static_cast<uint8_t>((source & mask) | (latch & ~mask));
  }
}

}  // namespace hull::vga
