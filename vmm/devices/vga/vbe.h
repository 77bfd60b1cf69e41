// The registers of the Bochs VBE extension: modes of a VGA with one piece of memory and up to 32
// bits a pixel.
//
// Bochs, "VBE Display API" (vgabios, vbe_display_api.txt), version 0xb0c5.

#ifndef VMM_DEVICES_VGA_VBE_H_
#define VMM_DEVICES_VGA_VBE_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace hull::vga {

// Words: the index, and behind it (unaligned) the data.
inline constexpr uint16_t kVbeFirstPort = 0x1ce;
inline constexpr uint64_t kVbePortCount = 3;

// Where the guest sees the memory as it is, and how much there is.
inline constexpr uint64_t kFrameBufferAddress = 0xe0000000;
inline constexpr size_t kFrameBufferSize = size_t{4} << 20;
// How much of it the window at 0xa0000 shows.
inline constexpr size_t kVbeBankSize = size_t{64} << 10;

inline constexpr uint32_t kVbeMaxWidth = 1280;
inline constexpr uint32_t kVbeMaxHeight = 1024;

// Indices.
inline constexpr uint16_t kVbeId = 0;
inline constexpr uint16_t kVbeWidth = 1;
inline constexpr uint16_t kVbeHeight = 2;
inline constexpr uint16_t kVbeBits = 3;
inline constexpr uint16_t kVbeEnable = 4;
inline constexpr uint16_t kVbeBank = 5;
inline constexpr uint16_t kVbeVirtualWidth = 6;
inline constexpr uint16_t kVbeVirtualHeight = 7;
inline constexpr uint16_t kVbeOffsetX = 8;
inline constexpr uint16_t kVbeOffsetY = 9;
inline constexpr uint16_t kVbeMemory = 10;  // In units of 64 KiB.
inline constexpr size_t kVbeRegisters = 11;

// Of the enable register.
inline constexpr uint16_t kVbeEnabled = 0x01;
inline constexpr uint16_t kVbeCapabilities = 0x02;  // Reads give the largest values.
inline constexpr uint16_t kVbe8BitDac = 0x20;
inline constexpr uint16_t kVbeKeepMemory = 0x80;

// Pure register logic. Not thread-safe.
class Vbe {
 public:
  uint16_t ReadIndex() const { return index_; }
  void WriteIndex(uint16_t index) { index_ = index; }
  uint16_t ReadData() const;
  // Whether the frame buffer is to be cleared, as far as Size() goes.
  bool WriteData(uint16_t value);

  // Whether a mode is on that shows the frame buffer. With 4 bits a pixel, the planes of the VGA
  // are shown as always.
  bool Linear() const { return enabled() && bits_ > 4; }
  bool EightBitDac() const { return (enable_ & kVbe8BitDac) != 0; }
  // Of the mode that is on: pixels, 8, 15, 16, 24 or 32 bits, and bytes from line to line. All of
  // the picture is inside the frame buffer.
  uint32_t width() const { return width_; }
  uint32_t height() const { return height_; }
  uint32_t bits() const { return bits_; }
  uint32_t pitch() const { return virtual_width_ * BytesOf(bits_); }
  // Where the picture begins, in bytes, and the least that holds it, from there on.
  size_t Start() const { return size_t{offset_y_} * pitch() + offset_x_ * BytesOf(bits_); }
  size_t Size() const { return size_t{height_ - 1} * pitch() + width_ * BytesOf(bits_); }
  // Where in the frame buffer the window is: below kFrameBufferSize, a whole bank.
  size_t BankStart() const { return bank_ * kVbeBankSize; }

 private:
  static uint32_t BytesOf(uint32_t bits) { return (bits + 7) / 8; }
  bool enabled() const { return (enable_ & kVbeEnabled) != 0; }
  bool Enable(uint16_t value);
  uint32_t VirtualHeight() const;

  uint16_t index_ = 0;
  uint16_t id_ = 0xb0c5;
  uint16_t enable_ = 0;
  uint32_t width_ = 640;
  uint32_t height_ = 480;
  uint32_t bits_ = 8;
  uint32_t virtual_width_ = 640;
  uint32_t offset_x_ = 0;
  uint32_t offset_y_ = 0;
  uint32_t bank_ = 0;
};

}  // namespace hull::vga

#endif  // VMM_DEVICES_VGA_VBE_H_
