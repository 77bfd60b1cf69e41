#include "vmm/devices/dma/controller.h"

#include <algorithm>

namespace hull::dma {

namespace {

constexpr uint16_t kPagePorts = 0x80;
constexpr uint16_t kSecondChipPorts = 0xc0;  // Its registers are at even ports.

// Registers of a chip: 0 to 7 are address and count of each channel.
constexpr uint8_t kStatusCommand = 8;
constexpr uint8_t kRequest = 9;
constexpr uint8_t kMaskOne = 10;
constexpr uint8_t kMode = 11;
constexpr uint8_t kClearFlipFlop = 12;
constexpr uint8_t kMasterClear = 13;
constexpr uint8_t kClearMask = 14;
constexpr uint8_t kMaskAll = 15;

constexpr uint8_t kCommandDisable = 1 << 2;
constexpr uint8_t kSetBit = 1 << 2;  // Of the request and mask registers.

constexpr uint8_t kModeTransferMask = 3 << 2;
constexpr uint8_t kModeVerify = 0 << 2;
constexpr uint8_t kModeWrite = 1 << 2;  // To memory.
constexpr uint8_t kModeRead = 2 << 2;
constexpr uint8_t kModeAutoInitialize = 1 << 4;
constexpr uint8_t kModeDecrement = 1 << 5;

// Where among the page registers the page of each channel is.
constexpr std::array<uint8_t, kChannels> kPageOf = {7, 3, 1, 2, 15, 11, 9, 10};

void SetHalf(uint16_t& reg, bool high, uint8_t value) {
  reg = static_cast<uint16_t>(high ? (reg & 0x00ff) | value << 8 : (reg & 0xff00) | value);
}

uint8_t Half(uint16_t reg, bool high) { return static_cast<uint8_t>(high ? reg >> 8 : reg); }

}  // namespace

uint8_t Controller::ReadPort(uint16_t port) {
  if (port < 0x10) return ReadChip(chips_[0], static_cast<uint8_t>(port));
  if (port >= kPagePorts && port < kPagePorts + pages_.size()) return pages_[port - kPagePorts];
  if (port >= kSecondChipPorts && port < kSecondChipPorts + 0x20 && (port & 1) == 0) {
    return ReadChip(chips_[1], static_cast<uint8_t>((port - kSecondChipPorts) / 2));
  }
  return 0xff;
}

void Controller::WritePort(uint16_t port, uint8_t value) {
  if (port < 0x10) {
    WriteChip(chips_[0], static_cast<uint8_t>(port), value);
  } else if (port >= kPagePorts && port < kPagePorts + pages_.size()) {
    pages_[port - kPagePorts] = value;
  } else if (port >= kSecondChipPorts && port < kSecondChipPorts + 0x20 && (port & 1) == 0) {
    WriteChip(chips_[1], static_cast<uint8_t>((port - kSecondChipPorts) / 2), value);
  }
}

uint8_t Controller::ReadChip(Chip& chip, uint8_t reg) {
  if (reg < 8) {
    const Channel& channel = chip.channels[reg / 2];
    const uint8_t value = Half(reg % 2 == 0 ? channel.address : channel.count, chip.high_byte);
    chip.high_byte = !chip.high_byte;
    return value;
  }
  if (reg == kStatusCommand) {
    uint8_t status = 0;
    for (size_t i = 0; i < chip.channels.size(); ++i) {
      if (chip.channels[i].terminal_count) status |= static_cast<uint8_t>(1 << i);
      if (chip.channels[i].requested) status |= static_cast<uint8_t>(0x10 << i);
      chip.channels[i].terminal_count = false;  // Reading it clears these bits.
    }
    return status;
  }
  if (reg == kMaskAll) {
    uint8_t mask = 0xf0;
    for (size_t i = 0; i < chip.channels.size(); ++i) {
      if (chip.channels[i].masked) mask |= static_cast<uint8_t>(1 << i);
    }
    return mask;
  }
  return 0;
}

void Controller::WriteChip(Chip& chip, uint8_t reg, uint8_t value) {
  Channel& selected = chip.channels[value & 3];
  switch (reg) {
    case kStatusCommand:
      chip.disabled = (value & kCommandDisable) != 0;
      return;
    case kRequest:
      selected.requested = (value & kSetBit) != 0;
      return;
    case kMaskOne:
      selected.masked = (value & kSetBit) != 0;
      return;
    case kMode:
      selected.mode = value;
      return;
    case kClearFlipFlop:
      chip.high_byte = false;
      return;
    case kMasterClear:
      Reset(chip);
      return;
    case kClearMask:
      for (Channel& channel : chip.channels) channel.masked = false;
      return;
    case kMaskAll:
      for (size_t i = 0; i < chip.channels.size(); ++i) {
        chip.channels[i].masked = (value >> i & 1) != 0;
      }
      return;
    default:
      break;
  }
  Channel& channel = chip.channels[reg / 2 % 4];
  if (reg % 2 == 0) {
    SetHalf(channel.base_address, chip.high_byte, value);
    channel.address = channel.base_address;
  } else {
    SetHalf(channel.base_count, chip.high_byte, value);
    channel.count = channel.base_count;
  }
  chip.high_byte = !chip.high_byte;
}

void Controller::Reset(Chip& chip) {
  chip.high_byte = false;
  chip.disabled = false;
  for (Channel& channel : chip.channels) {
    channel.masked = true;
    channel.requested = false;
    channel.terminal_count = false;
  }
}

Controller::Chunk Controller::Advance(size_t number, Direction direction, size_t limit) {
  const Chip& chip = chips_[number / 4];
  Channel& channel = chips_[number / 4].channels[number % 4];
  const uint8_t transfer = channel.mode & kModeTransferMask;
  const uint8_t wanted = direction == Direction::kToMemory ? kModeWrite : kModeRead;
  if (chip.disabled || channel.masked || (transfer != wanted && transfer != kModeVerify)) return {};

  // Channels of the second chip count in words, and their addresses are of words.
  const size_t unit = number < 4 ? 1 : 2;
  const bool down = (channel.mode & kModeDecrement) != 0;
  size_t units = std::min<size_t>(limit / unit, size_t{channel.count} + 1);
  // The address wraps within its page, and backwards it goes one transfer at a time.
  units = std::min<size_t>(units, down ? 1 : 0x10000 - size_t{channel.address});
  if (units == 0) return {};

  const uint8_t page = pages_[kPageOf[number]];
  Chunk chunk;
  chunk.address = unit == 1 ? uint32_t{page} << 16 | channel.address
                            : uint32_t{page & 0xfeu} << 16 | uint32_t{channel.address} << 1;
  chunk.size = units * unit;
  chunk.to_memory = transfer == kModeWrite;
  channel.address = static_cast<uint16_t>(down ? channel.address - 1 : channel.address + units);
  chunk.terminal_count = units == size_t{channel.count} + 1;
  channel.count = static_cast<uint16_t>(channel.count - units);
  if (chunk.terminal_count) {
    channel.terminal_count = true;
    channel.requested = false;
    if ((channel.mode & kModeAutoInitialize) != 0) {
      channel.address = channel.base_address;
      channel.count = channel.base_count;
    } else {
      channel.masked = true;
    }
  }
  return chunk;
}

}  // namespace hull::dma
