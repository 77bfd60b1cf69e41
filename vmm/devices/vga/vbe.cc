#include "vmm/devices/vga/vbe.h"

#include <algorithm>

namespace hull::vga {

namespace {

constexpr uint16_t kOldestId = 0xb0c0;
constexpr uint16_t kNewestId = 0xb0c5;
constexpr uint32_t kMaxBits = 32;

bool IsBits(uint32_t bits) {
  return bits == 4 || bits == 8 || bits == 15 || bits == 16 || bits == 24 || bits == 32;
}

}  // namespace

uint32_t Vbe::VirtualHeight() const {
  return static_cast<uint32_t>(kFrameBufferSize / std::max(pitch(), 1u));
}

uint16_t Vbe::ReadData() const {
  const bool capabilities = (enable_ & kVbeCapabilities) != 0;
  uint32_t value = 0;
  switch (index_) {
    case kVbeId:
      return id_;
    case kVbeWidth:
      value = capabilities ? kVbeMaxWidth : width_;
      break;
    case kVbeHeight:
      value = capabilities ? kVbeMaxHeight : height_;
      break;
    case kVbeBits:
      value = capabilities ? kMaxBits : bits_;
      break;
    case kVbeEnable:
      return enable_;
    case kVbeBank:
      value = bank_;
      break;
    case kVbeVirtualWidth:
      value = virtual_width_;
      break;
    case kVbeVirtualHeight:
      value = std::min(VirtualHeight(), 0xffffu);
      break;
    case kVbeOffsetX:
      value = offset_x_;
      break;
    case kVbeOffsetY:
      value = offset_y_;
      break;
    case kVbeMemory:
      value = kFrameBufferSize / kVbeBankSize;
      break;
    default:
      break;
  }
  return static_cast<uint16_t>(value);
}

// What cannot be is not taken.
bool Vbe::WriteData(uint16_t value) {
  switch (index_) {
    case kVbeId:
      if (value >= kOldestId && value <= kNewestId) id_ = value;
      return false;
    case kVbeWidth:
      if (!enabled() && value > 0 && value <= kVbeMaxWidth) width_ = value;
      return false;
    case kVbeHeight:
      if (!enabled() && value > 0 && value <= kVbeMaxHeight) height_ = value;
      return false;
    case kVbeBits:
      if (!enabled() && (value == 0 || IsBits(value))) bits_ = value == 0 ? 8 : value;
      return false;
    case kVbeEnable:
      return Enable(value);
    case kVbeBank:
      if (value < kFrameBufferSize / kVbeBankSize) bank_ = value;
      return false;
    case kVbeVirtualWidth: {
      const uint32_t before = virtual_width_;
      if (!enabled() || value < width_) return false;
      virtual_width_ = value;
      offset_x_ = offset_y_ = 0;
      if (Size() > kFrameBufferSize) virtual_width_ = before;
      return false;
    }
    case kVbeOffsetX:
      if (enabled() && value + width_ <= virtual_width_) offset_x_ = value;
      return false;
    case kVbeOffsetY:
      if (enabled() && value + height_ <= VirtualHeight()) offset_y_ = value;
      return false;
    default:
      return false;
  }
}

bool Vbe::Enable(uint16_t value) {
  const bool was_enabled = enabled();
  const uint16_t flags = value & (kVbeCapabilities | kVbe8BitDac);
  if ((value & kVbeEnabled) == 0) {
    enable_ = flags;
    bank_ = 0;
    return false;
  }
  if (was_enabled) {
    enable_ = kVbeEnabled | flags;
    return false;
  }
  virtual_width_ = width_;
  offset_x_ = offset_y_ = 0;
  bank_ = 0;
  if (Size() > kFrameBufferSize) return false;
  enable_ = kVbeEnabled | flags;
  return Linear() && (value & kVbeKeepMemory) == 0;
}

}  // namespace hull::vga
