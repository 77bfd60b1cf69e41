#include "vmm/devices/vga/screen.h"

#include <algorithm>
#include <array>
#include <span>

namespace hull::vga {

namespace {

constexpr size_t kFontPlane = 2;
constexpr uint32_t kFontBytesPerCharacter = 32;

struct Timing {
  uint32_t characters = 0;  // Of a line: 8 or 9 dots each.
  uint32_t lines = 0;
  uint32_t row_height = 1;  // Scan lines of a row of characters, or of a pixel.
  uint32_t start = 0;       // The memory address counter's, at the top of the screen.
  uint32_t pitch = 0;       // By how much it advances from row to row.
  uint32_t split_line = 0;  // From the line behind this on, it starts from 0.
};

Timing TimingOf(const State& state) {
  const auto& crtc = state.crtc;
  const uint32_t overflow = crtc[kOverflow];
  Timing timing;
  timing.characters = std::min(uint32_t{crtc[kHorizontalEnd]} + 1, kMaxColumns);
  timing.lines = std::min(
      1 + crtc[kVerticalEnd] + (overflow >> 1 & 1) * 256 + (overflow >> 6 & 1) * 512, kMaxHeight);
  timing.row_height = (crtc[kMaximumScanLine] & 0x1f) + 1u;
  if ((crtc[kMaximumScanLine] & kScanDouble) != 0) timing.row_height *= 2;
  timing.start = uint32_t{crtc[kStartHigh]} << 8 | crtc[kStartLow];
  timing.pitch = uint32_t{crtc[kOffset]} * 2;
  timing.split_line =
      crtc[kLineCompare] + (overflow >> 4 & 1) * 256 + (crtc[kMaximumScanLine] >> 6 & 1) * 512u;
  return timing;
}

uint8_t Byte(const State& state, uint32_t address, size_t plane) {
  return state.memory[4 * size_t{address % kPlaneSize} + plane];
}

// From the CRT controller's address counter to an address in the planes: the counter counts bytes,
// words or double words.
uint32_t AddressOf(const State& state, uint32_t counter) {
  if ((state.crtc[kUnderline] & kDoubleWord) != 0) return counter * 4;
  if ((state.crtc[kCrtcMode] & kByteMode) == 0) return counter * 2;
  return counter;
}

bool IsGraphics(const State& state) {
  return state.vbe.Linear() || (state.graphics[kMiscGraphics] & kGraphics) != 0;
}

bool IsBlank(const State& state) {
  return !state.palette_on || (state.sequencer[kClockingMode] & kScreenOff) != 0;
}

using Rgb = std::array<uint8_t, 3>;

Rgb DacColour(const State& state, uint8_t index) {
  const size_t entry = size_t{static_cast<uint8_t>(index & state.dac_mask)} * 3;
  Rgb rgb;
  for (size_t i = 0; i < 3; ++i) {
    if (state.vbe.EightBitDac()) {
      rgb[i] = state.dac[entry + i];
      continue;
    }
    // 6 bits to 8, so that the brightest is 255.
    rgb[i] = static_cast<uint8_t>(state.dac[entry + i] << 2 | state.dac[entry + i] >> 4);
  }
  return rgb;
}

// The colour of one of 16, by way of the attribute controller's palette.
Rgb PaletteColour(const State& state, uint8_t index) {
  const uint8_t select = state.attribute[kColourSelect];
  uint8_t value = state.attribute[index & state.attribute[kPlaneEnable] & 0xf] & 0x3f;
  if ((state.attribute[kAttributeMode] & kPalette54FromSelect) != 0) {
    value = static_cast<uint8_t>((value & 0x0f) | (select & 3) << 4);
  }
  return DacColour(state, static_cast<uint8_t>(value | (select & 0x0c) << 4));
}

void Put(Picture& picture, uint32_t x, uint32_t y, const Rgb& colour) {
  std::copy(colour.begin(), colour.end(),
            picture.rgb.begin() + (ptrdiff_t{y} * picture.width + x) * 3);
}

// Where the memory address counter is at the start of scan line `line`, and which line of its row
// that is.
struct LinePlace {
  uint32_t counter = 0;
  uint32_t row_line = 0;
  bool split = false;
};

LinePlace PlaceOf(const State& state, const Timing& timing, uint32_t line) {
  const bool split = line > timing.split_line;
  const uint32_t into =
      split ? line - timing.split_line - 1 : line + (state.crtc[kPresetRowScan] & 0x1fu);
  return {.counter = (split ? 0 : timing.start) + into / timing.row_height * timing.pitch,
          .row_line = into % timing.row_height,
          .split = split};
}

// The offset into plane 2 of each of the two fonts that a text can use.
std::array<uint32_t, 2> Fonts(const State& state) {
  const uint8_t map = state.sequencer[kCharacterMap];
  const auto font = [](uint32_t select) { return (select & 3) * 0x4000 + (select >> 2) * 0x2000; };
  // Attribute bit 3 clear selects map B, set map A.
  return {font((map & 3u) | (map >> 2 & 4u)), font((map >> 2 & 3u) | (map >> 3 & 4u))};
}

void DrawText(const State& state, const Timing& timing, Picture& picture) {
  const uint32_t dots = (state.sequencer[kClockingMode] & kNineDotsOff) != 0 ? 8 : 9;
  const bool line_graphics = (state.attribute[kAttributeMode] & kLineGraphics) != 0;
  const bool blink = (state.attribute[kAttributeMode] & kBlink) != 0;
  const std::array<uint32_t, 2> fonts = Fonts(state);
  const uint32_t cursor = uint32_t{state.crtc[kCursorHigh]} << 8 | state.crtc[kCursorLow];
  const uint32_t cursor_start = state.crtc[kCursorStart] & 0x1f;
  const uint32_t cursor_end = state.crtc[kCursorEnd] & 0x1f;
  const bool cursor_on = (state.crtc[kCursorStart] & kCursorOff) == 0;
  const uint32_t scan = (state.crtc[kMaximumScanLine] & kScanDouble) != 0 ? 2 : 1;
  for (uint32_t y = 0; y < picture.height; ++y) {
    const LinePlace place = PlaceOf(state, timing, y);
    const uint32_t row_line = place.row_line / scan;
    for (uint32_t column = 0; column < timing.characters; ++column) {
      const uint32_t counter = place.counter + column;
      const uint32_t address = AddressOf(state, counter);
      const uint8_t character = Byte(state, address, 0);
      const uint8_t attribute = Byte(state, address, 1);
      const uint32_t font = fonts[attribute >> 3 & 1];
      uint32_t bits =
          uint32_t{Byte(state, font + character * kFontBytesPerCharacter + row_line, kFontPlane)}
          << 1;
      // The ninth dot of the line-drawing characters repeats the eighth.
      if (line_graphics && character >= 0xc0 && character <= 0xdf) bits |= bits >> 1 & 1;
      if (cursor_on && (counter & 0xffff) == cursor && row_line >= cursor_start &&
          row_line <= cursor_end) {
        bits = 0x1ff;
      }
      const Rgb foreground = PaletteColour(state, attribute & 0xf);
      const Rgb background = PaletteColour(state, attribute >> 4 & (blink ? 0x7 : 0xf));
      for (uint32_t dot = 0; dot < dots; ++dot) {
        Put(picture, column * dots + dot, y,
            (bits >> (8 - dot) & 1) != 0 ? foreground : background);
      }
    }
  }
}

// The pixel `x` of a line of 16 or fewer colours, as a number of the palette.
uint8_t PlanarPixel(const State& state, const LinePlace& place, uint32_t row_line, uint32_t x) {
  uint32_t address = AddressOf(state, place.counter + x / 8);
  // CGA and Hercules memory: lines take turns in banks.
  if ((state.crtc[kCrtcMode] & 1) == 0) address = (address & ~0x2000u) | (row_line & 1) << 13;
  if ((state.crtc[kCrtcMode] & 2) == 0) address = (address & ~0x4000u) | (row_line >> 1 & 1) << 14;
  const uint32_t bit = 7 - x % 8;
  if ((state.graphics[kGraphicsMode] & kShiftInterleaved) != 0) {
    // Two bits a pixel: the first four are in the even plane, the others in the odd one.
    const size_t odd = x % 8 / 4;
    const uint32_t shift = 6 - x % 4 * 2;
    return static_cast<uint8_t>((Byte(state, address, odd) >> shift & 3) |
                                (Byte(state, address, 2 + odd) >> shift & 3) << 2);
  }
  uint8_t value = 0;
  for (size_t plane = 0; plane < kPlanes; ++plane) {
    value |= static_cast<uint8_t>((Byte(state, address, plane) >> bit & 1) << plane);
  }
  return value;
}

void DrawGraphics(const State& state, const Timing& timing, Picture& picture) {
  const bool colours256 = (state.graphics[kGraphicsMode] & kShift256) != 0;
  const uint32_t scan = (state.crtc[kMaximumScanLine] & kScanDouble) != 0 ? 2 : 1;
  for (uint32_t y = 0; y < picture.height; ++y) {
    const LinePlace place = PlaceOf(state, timing, y);
    uint32_t panning = state.attribute[kPanning] & 0xf;
    if (place.split && (state.attribute[kAttributeMode] & kPanningStopsAtSplit) != 0) panning = 0;
    for (uint32_t x = 0; x < picture.width; ++x) {
      if (colours256) {
        // Two dots a pixel; a byte of each plane makes four pixels.
        const uint32_t pixel = (x + (panning & 7)) / 2;
        const uint32_t address = AddressOf(state, place.counter + pixel / 4);
        Put(picture, x, y, DacColour(state, Byte(state, address, pixel % 4)));
      } else {
        Put(picture, x, y,
            PaletteColour(state,
                          PlanarPixel(state, place, place.row_line / scan, x + (panning & 7))));
      }
    }
  }
}

// `bits` of `value` from `shift` on, as eight: the brightest is 255.
uint8_t Component(uint32_t value, uint32_t shift, uint32_t bits) {
  const uint32_t part = value >> shift & ((1u << bits) - 1);
  return static_cast<uint8_t>(part << (8 - bits) | part >> (2 * bits - 8));
}

Rgb DirectColour(uint32_t bits, std::span<const uint8_t> pixel) {
  if (bits >= 24) return {pixel[2], pixel[1], pixel[0]};
  const uint32_t value = pixel[0] | uint32_t{pixel[1]} << 8;
  if (bits == 15) return {Component(value, 10, 5), Component(value, 5, 5), Component(value, 0, 5)};
  return {Component(value, 11, 5), Component(value, 5, 6), Component(value, 0, 5)};
}

// Of a snapshot whose VBE shows the frame buffer.
Picture DrawFrame(const State& state) {
  const Vbe& vbe = state.vbe;
  Picture picture = {.width = vbe.width(), .height = vbe.height(), .rgb = {}};
  picture.rgb.resize(size_t{picture.width} * picture.height * 3);
  if (IsBlank(state) || state.frame.size() < vbe.Size()) return picture;
  const std::span<const uint8_t> frame(state.frame);
  const uint32_t bytes = (vbe.bits() + 7) / 8;
  for (uint32_t y = 0; y < picture.height; ++y) {
    for (uint32_t x = 0; x < picture.width; ++x) {
      const auto pixel = frame.subspan(size_t{y} * vbe.pitch() + x * bytes, bytes);
      Put(picture, x, y, bytes == 1 ? DacColour(state, pixel[0]) : DirectColour(vbe.bits(), pixel));
    }
  }
  return picture;
}

}  // namespace

TextScreen ReadText(const State& state) {
  TextScreen screen;
  if (IsGraphics(state)) return screen;
  const Timing timing = TimingOf(state);
  screen.columns = timing.characters;
  screen.rows = std::min(timing.lines / timing.row_height, kMaxRows);
  const uint32_t cursor = uint32_t{state.crtc[kCursorHigh]} << 8 | state.crtc[kCursorLow];
  const bool cursor_on = (state.crtc[kCursorStart] & kCursorOff) == 0;
  const bool blank = IsBlank(state);
  for (uint32_t row = 0; row < screen.rows; ++row) {
    const uint32_t line = row * timing.row_height;
    const LinePlace place = PlaceOf(state, timing, line);
    for (uint32_t column = 0; column < screen.columns; ++column) {
      const uint32_t counter = place.counter + column;
      const uint32_t address = AddressOf(state, counter);
      screen.cells.push_back(
          blank ? TextScreen::Cell{' ', 0}
                : TextScreen::Cell{Byte(state, address, 0), Byte(state, address, 1)});
      if (cursor_on && !blank && (counter & 0xffff) == cursor) {
        screen.cursor_shown = true;
        screen.cursor_column = column;
        screen.cursor_row = row;
      }
    }
  }
  return screen;
}

Picture Draw(const State& state) {
  if (state.vbe.Linear()) return DrawFrame(state);
  const Timing timing = TimingOf(state);
  const bool graphics = IsGraphics(state);
  const uint32_t dots = (state.sequencer[kClockingMode] & kNineDotsOff) != 0 || graphics ? 8 : 9;
  Picture picture;
  picture.width = timing.characters * dots;
  picture.height = timing.lines;
  picture.rgb.resize(size_t{picture.width} * picture.height * 3);
  if (IsBlank(state)) return picture;
  if (graphics) {
    DrawGraphics(state, timing, picture);
  } else {
    DrawText(state, timing, picture);
  }
  return picture;
}

}  // namespace hull::vga
