// What a VGA's monitor shows: the text of a text mode, and the picture of any mode.

#ifndef VMM_DEVICES_VGA_SCREEN_H_
#define VMM_DEVICES_VGA_SCREEN_H_

#include <cstdint>
#include <vector>

#include "vmm/devices/vga/adapter.h"

namespace hull::vga {

// Bounds of what a guest can make of a screen.
inline constexpr uint32_t kMaxColumns = 160;
inline constexpr uint32_t kMaxRows = 128;
inline constexpr uint32_t kMaxWidth = 1440;  // 160 columns of 9 dots.
inline constexpr uint32_t kMaxHeight = 1024;

struct TextScreen {
  struct Cell {
    uint8_t character = 0;  // In the guest's code page; code page 437 after a start.
    uint8_t attribute = 0;  // Foreground in the low four bits, background in the high four.
    bool operator==(const Cell&) const = default;
  };
  uint32_t columns = 0;
  uint32_t rows = 0;
  std::vector<Cell> cells;  // Row by row.
  bool cursor_shown = false;
  uint32_t cursor_column = 0;
  uint32_t cursor_row = 0;
};

// Of a mode that shows graphics, a screen of no columns and no rows. Pure.
TextScreen ReadText(const State& state);

struct Picture {
  uint32_t width = 0;
  uint32_t height = 0;
  std::vector<uint8_t> rgb;  // Row by row, three bytes a pixel.
};

// Blinking text and the cursor are drawn in the half of their period in which they are seen. A
// pixel that several scan lines or dots repeat is drawn that often, as a monitor does. Pure.
Picture Draw(const State& state);

}  // namespace hull::vga

#endif  // VMM_DEVICES_VGA_SCREEN_H_
