// A pc machine's screen and keyboard on the user's terminal.
//
// What the terminal is sent and sends is that of xterm, which others have followed: ECMA-48 and
// "XTerm Control Sequences".

#ifndef VMM_CONTAINER_PC_TERMINAL_H_
#define VMM_CONTAINER_PC_TERMINAL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "vmm/container/config.h"
#include "vmm/container/screen.h"

namespace hull::container {

// Draws text screens with their colours and cursor. Of a screen that the terminal is too small for,
// it shows the upper left part, or that with the cursor. Not thread-safe.
class ScreenPainter {
 public:
  // `hint` is shown below the screen where there is room; `graphics` in place of a screen of
  // graphics.
  ScreenPainter(std::string hint, std::string graphics)
      : hint_(std::move(hint)), graphics_(std::move(graphics)) {}

  // Begins on an empty screen of its own, and gives the terminal back as it was.
  std::string Enter();
  static std::string Leave();
  // What has to be sent for the terminal, of that size, to show `screen`: what has changed since
  // the last time, nothing if nothing has. A size of 0 by 0 is 25 rows of 80 columns.
  std::string Paint(const TextScreen& screen, TerminalSize size);

 private:
  std::string Clear();

  const std::string hint_;
  const std::string graphics_;
  TerminalSize size_ = {};
  bool shows_graphics_ = false;
  uint32_t rows_ = 0;     // of the screen that is shown
  uint32_t columns_ = 0;  // likewise
  uint32_t first_row_ = 0;
  // What the terminal shows, row by row; absent: not known.
  std::vector<std::optional<ScreenCell>> shown_;
  std::string cursor_;  // what was sent for it last
};

// Finds out which keys were pressed from what a terminal sends for them. Not thread-safe.
class TypedKeys {
 public:
  // As a text of ParseKeys() (keys.h). What may be the beginning of a longer sequence is kept. What
  // stands for no key is left out.
  std::string Feed(absl::string_view bytes);
  // Whether something is kept. If nothing follows for a moment, Flush() says what it was.
  bool pending() const { return !kept_.empty(); }
  std::string Flush();

 private:
  std::string kept_;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_PC_TERMINAL_H_
