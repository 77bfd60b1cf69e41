// The registers of a VGA.
//
// IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"; FreeVGA project, "VGA
// Registers".

#ifndef VMM_DEVICES_VGA_WIRE_H_
#define VMM_DEVICES_VGA_WIRE_H_

#include <cstddef>
#include <cstdint>

namespace hull::vga {

// Ports 0x3b0 to 0x3df, of which those of the CRT controller and of the status are at 0x3bx or at
// 0x3dx: the other ones of the two do not answer.
inline constexpr uint16_t kFirstPort = 0x3b0;
inline constexpr uint64_t kPortCount = 0x30;
inline constexpr uint16_t kMonoCrtcIndex = 0x3b4;
inline constexpr uint16_t kMonoStatus = 0x3ba;
inline constexpr uint16_t kAttribute = 0x3c0;
inline constexpr uint16_t kAttributeRead = 0x3c1;
inline constexpr uint16_t kMiscWrite = 0x3c2;  // Read: input status 0.
inline constexpr uint16_t kEnable = 0x3c3;
inline constexpr uint16_t kSequencerIndex = 0x3c4;
inline constexpr uint16_t kSequencerData = 0x3c5;
inline constexpr uint16_t kDacMask = 0x3c6;
inline constexpr uint16_t kDacReadIndex = 0x3c7;  // Read: the DAC's state.
inline constexpr uint16_t kDacWriteIndex = 0x3c8;
inline constexpr uint16_t kDacData = 0x3c9;
inline constexpr uint16_t kFeatureRead = 0x3ca;
inline constexpr uint16_t kMiscRead = 0x3cc;
inline constexpr uint16_t kGraphicsIndex = 0x3ce;
inline constexpr uint16_t kGraphicsData = 0x3cf;
inline constexpr uint16_t kColourCrtcIndex = 0x3d4;
inline constexpr uint16_t kColourStatus = 0x3da;

// The memory window.
inline constexpr uint64_t kWindowStart = 0xa0000;
inline constexpr uint64_t kWindowSize = 0x20000;

inline constexpr size_t kPlanes = 4;
inline constexpr size_t kPlaneSize = 0x10000;

// Miscellaneous output register.
inline constexpr uint8_t kMiscColour = 1 << 0;
inline constexpr uint8_t kMiscMemoryEnabled = 1 << 1;

// Sequencer.
inline constexpr size_t kSequencerRegisters = 8;
inline constexpr uint8_t kClockingMode = 1;
inline constexpr uint8_t kMapMask = 2;
inline constexpr uint8_t kCharacterMap = 3;
inline constexpr uint8_t kMemoryMode = 4;
inline constexpr uint8_t kNineDotsOff = 1 << 0;  // Clocking mode.
inline constexpr uint8_t kScreenOff = 1 << 5;
inline constexpr uint8_t kOddEvenOff = 1 << 2;  // Memory mode.
inline constexpr uint8_t kChain4 = 1 << 3;

// Graphics controller.
inline constexpr size_t kGraphicsRegisters = 16;
inline constexpr uint8_t kSetReset = 0;
inline constexpr uint8_t kEnableSetReset = 1;
inline constexpr uint8_t kColourCompare = 2;
inline constexpr uint8_t kDataRotate = 3;
inline constexpr uint8_t kReadMapSelect = 4;
inline constexpr uint8_t kGraphicsMode = 5;
inline constexpr uint8_t kMiscGraphics = 6;
inline constexpr uint8_t kColourDontCare = 7;
inline constexpr uint8_t kBitMask = 8;
inline constexpr uint8_t kReadMode1 = 1 << 3;  // Graphics mode.
inline constexpr uint8_t kOddEvenRead = 1 << 4;
inline constexpr uint8_t kShiftInterleaved = 1 << 5;
inline constexpr uint8_t kShift256 = 1 << 6;
inline constexpr uint8_t kGraphics = 1 << 0;  // Miscellaneous graphics.

// CRT controller.
inline constexpr size_t kCrtcRegisters = 32;
inline constexpr uint8_t kHorizontalEnd = 0x01;
inline constexpr uint8_t kVerticalTotal = 0x06;
inline constexpr uint8_t kOverflow = 0x07;
inline constexpr uint8_t kPresetRowScan = 0x08;
inline constexpr uint8_t kMaximumScanLine = 0x09;
inline constexpr uint8_t kCursorStart = 0x0a;
inline constexpr uint8_t kCursorEnd = 0x0b;
inline constexpr uint8_t kStartHigh = 0x0c;
inline constexpr uint8_t kStartLow = 0x0d;
inline constexpr uint8_t kCursorHigh = 0x0e;
inline constexpr uint8_t kCursorLow = 0x0f;
inline constexpr uint8_t kRetraceStart = 0x10;
inline constexpr uint8_t kRetraceEnd = 0x11;
inline constexpr uint8_t kVerticalEnd = 0x12;
inline constexpr uint8_t kOffset = 0x13;
inline constexpr uint8_t kUnderline = 0x14;
inline constexpr uint8_t kCrtcMode = 0x17;
inline constexpr uint8_t kLineCompare = 0x18;
inline constexpr uint8_t kWriteProtect = 1 << 7;  // Retrace end: of registers 0 to 7.
inline constexpr uint8_t kScanDouble = 1 << 7;    // Maximum scan line.
inline constexpr uint8_t kCursorOff = 1 << 5;     // Cursor start.
inline constexpr uint8_t kDoubleWord = 1 << 6;    // Underline.
inline constexpr uint8_t kByteMode = 1 << 6;      // CRTC mode.
inline constexpr uint8_t kOverflowLineCompare = 1 << 4;

// Attribute controller.
inline constexpr size_t kAttributeRegisters = 32;
inline constexpr uint8_t kPaletteSource = 1 << 5;  // Of the index: the screen is on.
inline constexpr uint8_t kAttributeMode = 0x10;
inline constexpr uint8_t kPlaneEnable = 0x12;
inline constexpr uint8_t kPanning = 0x13;
inline constexpr uint8_t kColourSelect = 0x14;
inline constexpr uint8_t kLineGraphics = 1 << 2;  // Attribute mode.
inline constexpr uint8_t kBlink = 1 << 3;
inline constexpr uint8_t kPanningStopsAtSplit = 1 << 5;
inline constexpr uint8_t kPalette54FromSelect = 1 << 7;

// Input status 1.
inline constexpr uint8_t kDisplayDisabled = 1 << 0;
inline constexpr uint8_t kVerticalRetrace = 1 << 3;

}  // namespace hull::vga

#endif  // VMM_DEVICES_VGA_WIRE_H_
