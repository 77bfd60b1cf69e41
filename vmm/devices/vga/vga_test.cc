#include <array>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/devices/vga/adapter.h"
#include "vmm/devices/vga/screen.h"

namespace hull::vga {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kGraphicsWindow = 0;
constexpr uint64_t kTextWindow = 0x18000;

class VgaTest : public testing::Test {
 protected:
  void Out(uint16_t port, uint8_t value) { vga_.WritePort(port, value); }
  uint8_t In(uint16_t port) { return vga_.ReadPort(port, absl::ZeroDuration()); }
  void Sequencer(uint8_t index, uint8_t value) {
    Out(kSequencerIndex, index);
    Out(kSequencerData, value);
  }
  void Graphics(uint8_t index, uint8_t value) {
    Out(kGraphicsIndex, index);
    Out(kGraphicsData, value);
  }
  void Crtc(uint8_t index, uint8_t value) {
    Out(kColourCrtcIndex, index);
    Out(kColourCrtcIndex + 1, value);
  }
  void Attribute(uint8_t index, uint8_t value) {
    In(kColourStatus);
    Out(kAttribute, index);
    Out(kAttribute, value);
  }
  void Dac(uint8_t index, uint8_t red, uint8_t green, uint8_t blue) {
    Out(kDacWriteIndex, index);
    for (const uint8_t value : {red, green, blue}) Out(kDacData, value);
  }
  void CommonSetup(uint32_t lines, uint8_t columns, uint8_t offset) {
    Out(kMiscWrite, 0x63);
    Crtc(kRetraceEnd, 0);
    Crtc(kHorizontalEnd, static_cast<uint8_t>(columns - 1));
    Crtc(kVerticalEnd, static_cast<uint8_t>(lines - 1));
    Crtc(kOverflow, static_cast<uint8_t>((((lines - 1) >> 8 & 1) << 1) | 0x10));
    Crtc(kMaximumScanLine, 0x40);
    Crtc(kLineCompare, 0xff);
    Crtc(kOffset, offset);
    Attribute(kPlaneEnable, 0xf);
    for (uint8_t i = 0; i < 16; ++i) Attribute(i, i);
    In(kColourStatus);
    Out(kAttribute, kPaletteSource);
    Graphics(kBitMask, 0xff);
    Sequencer(kMapMask, 0x0f);
  }
  // 80 columns, 25 rows of 16 lines, as the BIOS sets mode 3.
  void TextMode() {
    CommonSetup(400, 80, 40);
    Crtc(kMaximumScanLine, 0x4f);
    Crtc(kCrtcMode, 0xa3);
    Crtc(kCursorStart, 0x0d);
    Crtc(kCursorEnd, 0x0e);
    Sequencer(kMapMask, 3);
    Sequencer(kMemoryMode, 2);
    Graphics(kGraphicsMode, 0x10);
    Graphics(kMiscGraphics, 0x0e);
  }
  // 320x200 with 256 colours.
  void Mode13h() {
    CommonSetup(400, 80, 40);
    Crtc(kMaximumScanLine, 0x41);
    Crtc(kUnderline, 0x40);
    Crtc(kCrtcMode, 0xa3);
    Sequencer(kMemoryMode, 0x0e);
    Graphics(kGraphicsMode, 0x40);
    Graphics(kMiscGraphics, 0x05);
  }
  void ModeX() {
    Mode13h();
    Crtc(kUnderline, 0);
    Crtc(kCrtcMode, 0xe3);
    Sequencer(kMemoryMode, 0x06);
  }
  // 640x350 with 16 colours, and all of the window.
  void Planar() {
    CommonSetup(350, 80, 40);
    Crtc(kCrtcMode, 0xe3);
    Sequencer(kMemoryMode, 0x06);
    Graphics(kGraphicsMode, 0x00);
    Graphics(kMiscGraphics, 0x05);
  }
  std::vector<int> PlanesAt(size_t address) const {
    const uint8_t* const bytes = &vga_.state().memory[4 * address];
    return {bytes[0], bytes[1], bytes[2], bytes[3]};
  }
  static std::vector<int> Pixel(const Picture& picture, uint32_t x, uint32_t y) {
    const uint8_t* const rgb = &picture.rgb[(size_t{y} * picture.width + x) * 3];
    return {rgb[0], rgb[1], rgb[2]};
  }

  std::vector<uint8_t> frame_buffer_ = std::vector<uint8_t>(kFrameBufferSize);
  Adapter vga_{frame_buffer_};
};

TEST_F(VgaTest, RegistersAreReadBack) {
  Out(kMiscWrite, 0x67);
  EXPECT_EQ(In(kMiscRead), 0x67);
  EXPECT_EQ(In(kMonoCrtcIndex), 0xff) << "the colour addresses are selected";
  Crtc(kOffset, 0x28);
  EXPECT_EQ(In(kColourCrtcIndex + 1), 0x28);
  Sequencer(kMapMask, 5);
  EXPECT_EQ(In(kSequencerData), 5);
  Attribute(3, 0x12);
  EXPECT_EQ(In(kAttributeRead), 0x12);
  Dac(7, 1, 2, 0xff);
  Out(kDacReadIndex, 7);
  EXPECT_EQ(In(kDacData), 1);
  EXPECT_EQ(In(kDacData), 2);
  EXPECT_EQ(In(kDacData), 0x3f) << "six bits";
  EXPECT_EQ(In(kDacWriteIndex), 8);
}

TEST_F(VgaTest, ProtectedTimingsStay) {
  Out(kMiscWrite, 0x63);
  Crtc(kHorizontalEnd, 0x4f);
  Crtc(kRetraceEnd, 0x80);
  Crtc(kHorizontalEnd, 0x00);
  Crtc(kOverflow, 0xff);
  EXPECT_EQ(vga_.state().crtc[kHorizontalEnd], 0x4f);
  EXPECT_EQ(vga_.state().crtc[kOverflow], 0x10) << "the line compare bit alone";
}

TEST_F(VgaTest, TheRetraceBitFollowsTheClock) {
  TextMode();
  Crtc(kVerticalTotal, 0xbf);
  Crtc(kOverflow, 0x1f);
  Crtc(kRetraceStart, 0x9c);
  const absl::Duration line = absl::Nanoseconds(31778);
  const auto status = [&](absl::Duration now) { return vga_.ReadPort(kColourStatus, now) & 9; };
  EXPECT_EQ(status(line * 10), 0);
  EXPECT_EQ(status(line * 10.9), 1) << "behind the end of a line";
  EXPECT_EQ(status(line * 405), 1);
  EXPECT_EQ(status(line * 413), 9);
  EXPECT_EQ(status(line * 449 * 1000 + line * 10), 0) << "a thousand frames later";
}

TEST_F(VgaTest, TextIsReadWithItsCursor) {
  TextMode();
  const char text[] = "Hi";
  for (uint64_t i = 0; i < 2; ++i) {
    vga_.WriteMemory(kTextWindow + 160 + 2 * i, static_cast<uint8_t>(text[i]));
    vga_.WriteMemory(kTextWindow + 160 + 2 * i + 1, 0x1e);
  }
  EXPECT_EQ(vga_.ReadMemory(kTextWindow + 162), 'i');
  EXPECT_EQ(vga_.ReadMemory(kTextWindow + 163), 0x1e);
  EXPECT_EQ(vga_.ReadMemory(kGraphicsWindow), 0xff) << "nobody answers there";
  Crtc(kCursorLow, 82);
  const TextScreen screen = ReadText(vga_.state());
  EXPECT_EQ(screen.columns, 80u);
  EXPECT_EQ(screen.rows, 25u);
  EXPECT_EQ(screen.cells[80], (TextScreen::Cell{'H', 0x1e}));
  EXPECT_EQ(screen.cells[81], (TextScreen::Cell{'i', 0x1e}));
  EXPECT_TRUE(screen.cursor_shown);
  EXPECT_EQ(screen.cursor_row, 1u);
  EXPECT_EQ(screen.cursor_column, 2u);
  // Scrolled by a row.
  Crtc(kStartLow, 80);
  EXPECT_EQ(ReadText(vga_.state()).cells[0], (TextScreen::Cell{'H', 0x1e}));
  // Fifty rows of a font half as high.
  Crtc(kMaximumScanLine, 0x47);
  EXPECT_EQ(ReadText(vga_.state()).rows, 50u);
}

TEST_F(VgaTest, TextIsDrawnWithTheFontThatWasLoaded) {
  TextMode();
  Dac(1, 0, 0, 63);
  Dac(14, 63, 63, 0);
  vga_.WriteMemory(kTextWindow, 'A');
  vga_.WriteMemory(kTextWindow + 1, 0x1e);
  // The font of 'A': its third line is the leftmost and the rightmost dot.
  Sequencer(kMapMask, 4);
  Sequencer(kMemoryMode, 6);
  Graphics(kGraphicsMode, 0);
  Graphics(kMiscGraphics, 4);
  vga_.WriteMemory(kGraphicsWindow + 'A' * 32 + 2, 0x81);
  TextMode();
  Crtc(kCursorHigh, 1);
  const Picture picture = Draw(vga_.state());
  EXPECT_EQ(picture.width, 720u);
  EXPECT_EQ(picture.height, 400u);
  EXPECT_THAT(Pixel(picture, 0, 2), ElementsAre(255, 255, 0));
  EXPECT_THAT(Pixel(picture, 1, 2), ElementsAre(0, 0, 255));
  EXPECT_THAT(Pixel(picture, 7, 2), ElementsAre(255, 255, 0));
  EXPECT_THAT(Pixel(picture, 8, 2), ElementsAre(0, 0, 255)) << "no line-drawing character";
  EXPECT_THAT(Pixel(picture, 0, 3), ElementsAre(0, 0, 255));
}

TEST_F(VgaTest, Mode13hIsOneByteAPixel) {
  Mode13h();
  Dac(0x55, 10, 20, 30);
  vga_.WriteMemory(kGraphicsWindow + 320 * 3 + 5, 0x55);
  EXPECT_EQ(vga_.ReadMemory(kGraphicsWindow + 320 * 3 + 5), 0x55);
  const Picture picture = Draw(vga_.state());
  EXPECT_EQ(picture.width, 640u);
  EXPECT_EQ(picture.height, 400u);
  EXPECT_THAT(Pixel(picture, 10, 6), ElementsAre(40, 81, 121));
  EXPECT_THAT(Pixel(picture, 11, 7), ElementsAre(40, 81, 121));
  EXPECT_THAT(Pixel(picture, 12, 6), ElementsAre(0, 0, 0));
  EXPECT_THAT(Pixel(picture, 10, 8), ElementsAre(0, 0, 0));
  EXPECT_EQ(ReadText(vga_.state()).columns, 0u);
}

TEST_F(VgaTest, ModeXWritesSeveralPlanesPansAndSplits) {
  ModeX();
  Dac(1, 63, 0, 0);
  Dac(2, 0, 63, 0);
  Sequencer(kMapMask, 0b0110);
  vga_.WriteMemory(kGraphicsWindow + 80, 1);  // The pixels 1 and 2 of row 1.
  EXPECT_THAT(PlanesAt(80), ElementsAre(0, 1, 1, 0));
  Sequencer(kMapMask, 0xf);
  vga_.WriteMemory(kGraphicsWindow + 16000, 2);
  Crtc(kStartHigh, 16000 >> 8);
  Crtc(kStartLow, 16000 & 0xff);
  EXPECT_THAT(Pixel(Draw(vga_.state()), 0, 0), ElementsAre(0, 255, 0)) << "the second page";
  // From scan line 200 on, the first page again.
  Crtc(kOverflow, 0x02);
  Crtc(kMaximumScanLine, 0x01);
  Crtc(kLineCompare, 199);
  Picture picture = Draw(vga_.state());
  EXPECT_THAT(Pixel(picture, 0, 0), ElementsAre(0, 255, 0));
  EXPECT_THAT(Pixel(picture, 2, 202), ElementsAre(255, 0, 0));
  EXPECT_THAT(Pixel(picture, 0, 202), ElementsAre(0, 0, 0));
  Attribute(kPanning, 2);  // Half dots: one pixel.
  In(kColourStatus);
  Out(kAttribute, kPaletteSource);
  EXPECT_THAT(Pixel(Draw(vga_.state()), 0, 202), ElementsAre(255, 0, 0));
  Attribute(kAttributeMode, kPanningStopsAtSplit);
  In(kColourStatus);
  Out(kAttribute, kPaletteSource);
  EXPECT_THAT(Pixel(Draw(vga_.state()), 0, 202), ElementsAre(0, 0, 0));
}

TEST_F(VgaTest, WriteModes) {
  Planar();
  // Mode 0: rotation, the bit mask over the latches, a logical operation.
  vga_.WriteMemory(0, 0x0f);
  EXPECT_THAT(PlanesAt(0), ElementsAre(0x0f, 0x0f, 0x0f, 0x0f));
  vga_.ReadMemory(0);
  Graphics(kBitMask, 0x3c);
  Graphics(kDataRotate, 4);
  vga_.WriteMemory(0, 0x0f);
  EXPECT_THAT(PlanesAt(0), ElementsAre(0x33, 0x33, 0x33, 0x33));
  Graphics(kBitMask, 0xff);
  Graphics(kDataRotate, 0x18);
  vga_.WriteMemory(1, 0xff);
  EXPECT_THAT(PlanesAt(1), ElementsAre(0xf0, 0xf0, 0xf0, 0xf0)) << "xor with the latches";
  Graphics(kDataRotate, 0);
  // Set and reset.
  Graphics(kEnableSetReset, 0x3);
  Graphics(kSetReset, 0x1);
  vga_.WriteMemory(2, 0x81);
  EXPECT_THAT(PlanesAt(2), ElementsAre(0xff, 0x00, 0x81, 0x81));
  // Mode 1 copies the latches.
  Graphics(kGraphicsMode, 1);
  vga_.ReadMemory(2);
  vga_.WriteMemory(3, 0x00);
  EXPECT_THAT(PlanesAt(3), ElementsAre(0xff, 0x00, 0x81, 0x81));
  // Mode 2: a colour.
  Graphics(kGraphicsMode, 2);
  Graphics(kBitMask, 0x80);
  vga_.ReadMemory(4);
  vga_.WriteMemory(4, 0xa);
  EXPECT_THAT(PlanesAt(4), ElementsAre(0x00, 0x80, 0x00, 0x80));
  // Mode 3: the data is a mask for the colour of set and reset.
  Graphics(kGraphicsMode, 3);
  Graphics(kBitMask, 0xf0);
  Graphics(kSetReset, 0x5);
  vga_.ReadMemory(5);
  vga_.WriteMemory(5, 0x3c);
  EXPECT_THAT(PlanesAt(5), ElementsAre(0x30, 0x00, 0x30, 0x00));
}

TEST_F(VgaTest, ReadModes) {
  Planar();
  for (uint8_t plane = 0; plane < 4; ++plane) {
    Sequencer(kMapMask, static_cast<uint8_t>(1 << plane));
    vga_.WriteMemory(7, static_cast<uint8_t>(0x11 << plane));
  }
  Graphics(kReadMapSelect, 2);
  EXPECT_EQ(vga_.ReadMemory(7), 0x44);
  // Read mode 1: where the colour is 1, and where planes 0 and 1 say so.
  Graphics(kGraphicsMode, kReadMode1);
  Graphics(kColourCompare, 1);
  Graphics(kColourDontCare, 0xf);
  EXPECT_EQ(vga_.ReadMemory(7), 0x11);
  Graphics(kColourCompare, 0);
  Graphics(kColourDontCare, 0x3);
  EXPECT_EQ(vga_.ReadMemory(7), 0xcc);
  Graphics(kColourDontCare, 0);
  EXPECT_EQ(vga_.ReadMemory(7), 0xff);
}

TEST_F(VgaTest, PlanarPixelsGoThroughThePalette) {
  Planar();
  Attribute(5, 0x2a);
  In(kColourStatus);
  Out(kAttribute, kPaletteSource);
  Dac(0x2a, 63, 0, 63);
  Sequencer(kMapMask, 5);
  vga_.WriteMemory(80, 0x40);
  const Picture picture = Draw(vga_.state());
  EXPECT_EQ(picture.width, 640u);
  EXPECT_EQ(picture.height, 350u);
  EXPECT_THAT(Pixel(picture, 1, 1), ElementsAre(255, 0, 255));
  EXPECT_THAT(Pixel(picture, 0, 1), ElementsAre(0, 0, 0));
  Sequencer(kClockingMode, kScreenOff);
  EXPECT_THAT(Pixel(Draw(vga_.state()), 1, 1), ElementsAre(0, 0, 0)) << "the screen is off";
}

TEST_F(VgaTest, CgaGraphicsHasItsLinesInBanks) {
  CommonSetup(400, 40, 20);
  Crtc(kMaximumScanLine, 0xc1);
  Crtc(kCrtcMode, 0xa2);
  Sequencer(kMapMask, 3);
  Sequencer(kMemoryMode, 2);
  Graphics(kGraphicsMode, 0x30);
  Graphics(kMiscGraphics, 0x0f);
  Dac(3, 63, 63, 63);
  Dac(1, 63, 0, 0);
  vga_.WriteMemory(kTextWindow + 0x2000 + 1, 0x40);  // Line 1, the pixel 4, colour 1.
  vga_.WriteMemory(kTextWindow + 80, 0x03);          // Line 2, the pixel 3, colour 3.
  const Picture picture = Draw(vga_.state());
  EXPECT_EQ(picture.width, 320u);
  EXPECT_THAT(Pixel(picture, 4, 2), ElementsAre(255, 0, 0));
  EXPECT_THAT(Pixel(picture, 3, 4), ElementsAre(255, 255, 255));
  EXPECT_THAT(Pixel(picture, 4, 4), ElementsAre(0, 0, 0));
}

TEST_F(VgaTest, VbeModesAreLinear) {
  const auto set = [this](uint16_t index, uint16_t value) {
    vga_.WriteVbe(false, index);
    vga_.WriteVbe(true, value);
  };
  const auto get = [this](uint16_t index) {
    vga_.WriteVbe(false, index);
    return vga_.ReadVbe(true);
  };
  TextMode();
  EXPECT_EQ(get(kVbeId), 0xb0c5);
  EXPECT_EQ(get(kVbeMemory), 64);
  set(kVbeEnable, kVbeCapabilities);
  EXPECT_EQ(get(kVbeWidth), kVbeMaxWidth);
  set(kVbeEnable, 0);
  frame_buffer_[5] = 1;
  set(kVbeWidth, 1024);
  set(kVbeHeight, 768);
  set(kVbeBits, 32);
  EXPECT_EQ(ReadText(vga_.state()).columns, 80u) << "not on yet";
  set(kVbeEnable, kVbeEnabled);
  EXPECT_EQ(frame_buffer_[5], 0) << "cleared";
  EXPECT_EQ(ReadText(vga_.state()).columns, 0u);
  const auto put = [this](size_t at, std::initializer_list<uint8_t> bytes) {
    std::copy(bytes.begin(), bytes.end(), frame_buffer_.begin() + static_cast<ptrdiff_t>(at));
  };
  put((767 * 1024 + 1023) * 4, {3, 2, 1, 0});
  Picture picture = Draw(vga_.Snapshot());
  EXPECT_EQ(picture.width, 1024u);
  EXPECT_EQ(picture.height, 768u);
  EXPECT_THAT(Pixel(picture, 1023, 767), ElementsAre(1, 2, 3));
  // By the window, bank 3.
  set(kVbeBank, 3);
  vga_.WriteMemory(kGraphicsWindow + 7, 0x77);
  EXPECT_EQ(frame_buffer_[3 * kVbeBankSize + 7], 0x77);
  EXPECT_EQ(vga_.ReadMemory(kGraphicsWindow + 7), 0x77);
  EXPECT_EQ(vga_.ReadMemory(kTextWindow), 0xff);
  set(kVbeBank, 64);
  EXPECT_EQ(get(kVbeBank), 3) << "there is no such bank";
  // What does not fit the memory is not taken.
  set(kVbeVirtualWidth, 2000);
  EXPECT_EQ(get(kVbeVirtualWidth), 1024);
  set(kVbeOffsetY, 257);
  EXPECT_EQ(get(kVbeOffsetY), 0);
  set(kVbeOffsetY, 256);
  put((256 * 1024) * 4, {9, 8, 7, 0});
  EXPECT_THAT(Pixel(Draw(vga_.Snapshot()), 0, 0), ElementsAre(7, 8, 9)) << "scrolled";
  set(kVbeWidth, 640);
  EXPECT_EQ(get(kVbeWidth), 1024) << "not while it is on";
  set(kVbeEnable, 0);
  set(kVbeWidth, 1280);
  set(kVbeHeight, 1024);
  set(kVbeEnable, kVbeEnabled);
  EXPECT_EQ(get(kVbeEnable), 0) << "5 MiB";
  // 16 bits a pixel, and a virtual screen.
  set(kVbeWidth, 640);
  set(kVbeHeight, 480);
  set(kVbeBits, 16);
  set(kVbeEnable, kVbeEnabled | kVbeKeepMemory);
  set(kVbeVirtualWidth, 700);
  EXPECT_EQ(get(kVbeVirtualHeight), kFrameBufferSize / 1400);
  set(kVbeOffsetX, 60);
  put((2 * 700 + 61) * 2, {0xe0, 0xff});
  EXPECT_THAT(Pixel(Draw(vga_.Snapshot()), 1, 2), ElementsAre(255, 255, 0));
  // 8 bits a pixel, with colours of 8 bits.
  set(kVbeEnable, 0);
  set(kVbeBits, 8);
  set(kVbeEnable, kVbeEnabled | kVbe8BitDac);
  Dac(5, 200, 100, 50);
  frame_buffer_[0] = 5;
  EXPECT_THAT(Pixel(Draw(vga_.Snapshot()), 0, 0), ElementsAre(200, 100, 50));
  set(kVbeEnable, 0);
  EXPECT_EQ(ReadText(vga_.state()).columns, 80u);
}

TEST_F(VgaTest, AfterAStartTheScreenIsBlankAndSmall) {
  const Picture picture = Draw(vga_.state());
  EXPECT_EQ(picture.width, 9u);
  EXPECT_EQ(picture.height, 1u);
  EXPECT_EQ(ReadText(vga_.state()).rows, 1u);
  EXPECT_EQ(vga_.ReadMemory(0), 0xff) << "its memory is off";
}

}  // namespace
}  // namespace hull::vga
