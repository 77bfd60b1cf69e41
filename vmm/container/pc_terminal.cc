#include "vmm/container/pc_terminal.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace hull::container {
namespace {

constexpr TerminalSize kUsualSize = {.rows = 25, .columns = 80};
// A terminal's sequence for a key is not longer.
constexpr size_t kMaxSequence = 16;
constexpr char kEscape = '\x1b';

// The colours of a PC in a terminal's order.
constexpr int kColours[8] = {0, 4, 2, 6, 1, 5, 3, 7};

std::string Style(uint8_t attribute) {
  const int foreground = kColours[attribute & 7] + ((attribute & 8) != 0 ? 90 : 30);
  const int background = kColours[attribute >> 4 & 7] + 40;
  return absl::StrCat("\x1b[0;", foreground, ";", background, (attribute & 0x80) != 0 ? ";5" : "",
                      "m");
}

std::string MoveTo(uint32_t row, uint32_t column) {
  return absl::StrCat("\x1b[", row + 1, ";", column + 1, "H");
}

struct SequenceKey {
  absl::string_view sequence;  // behind the escape character
  absl::string_view key;
};
// Of one letter: CSI letter, SS3 letter, and CSI 1 ; modifiers letter.
constexpr SequenceKey kLetters[] = {
    {"A", "up"},  {"B", "down"}, {"C", "right"}, {"D", "left"}, {"H", "home"},
    {"F", "end"}, {"P", "f1"},   {"Q", "f2"},    {"R", "f3"},   {"S", "f4"},
};
// CSI number ~ and CSI number ; modifiers ~.
constexpr SequenceKey kNumbers[] = {
    {"1", "home"}, {"2", "ins"},  {"3", "del"},  {"4", "end"},  {"5", "pgup"},
    {"6", "pgdn"}, {"7", "home"}, {"8", "end"},  {"11", "f1"},  {"12", "f2"},
    {"13", "f3"},  {"14", "f4"},  {"15", "f5"},  {"17", "f6"},  {"18", "f7"},
    {"19", "f8"},  {"20", "f9"},  {"21", "f10"}, {"23", "f11"}, {"24", "f12"},
};
// The Linux console's: CSI [ letter.
constexpr SequenceKey kConsole[] = {
    {"A", "f1"}, {"B", "f2"}, {"C", "f3"}, {"D", "f4"}, {"E", "f5"},
};

template <size_t N>
absl::string_view Find(const SequenceKey (&keys)[N], absl::string_view sequence) {
  for (const SequenceKey& key : keys) {
    if (key.sequence == sequence) return key.key;
  }
  return "";
}

std::string Named(absl::string_view modifiers, absl::string_view key) {
  return key.empty() ? "" : absl::StrCat("{", modifiers, key, "}");
}

// The number of a sequence's modifiers is one more than their bits.
std::string Modifiers(absl::string_view number) {
  uint32_t value = 0;
  if (!absl::SimpleAtoi(number, &value) || value == 0 || value > 8) return "";
  const uint32_t bits = value - 1;
  return absl::StrCat((bits & 4) != 0 ? "ctrl+" : "", (bits & 2) != 0 ? "alt+" : "",
                      (bits & 1) != 0 ? "shift+" : "");
}

// A character that was typed with these modifiers.
std::string Character(absl::string_view modifiers, char c) {
  const auto byte = static_cast<uint8_t>(c);
  if (c == '\r') return Named(modifiers, "enter");
  if (c == '\t') return Named(modifiers, "tab");
  if (byte == 0x7f || byte == 0x08) return Named(modifiers, "backspace");
  if (byte == 0x1b) return Named(modifiers, "esc");
  const std::string control = absl::StrCat("ctrl+", modifiers);
  if (byte == 0) return Named(control, "space");
  if (byte <= 0x1a) return Named(control, std::string(1, static_cast<char>('a' + byte - 1)));
  if (byte == 0x1c) return Named(control, "\\");
  if (byte == 0x1d) return Named(control, "]");
  if (byte == 0x1e) return Named(control, "6");
  if (byte == 0x1f) return Named(control, "-");
  // No key of a US keyboard; a closing brace cannot be named with modifiers.
  if (byte > 0x7f || (c == '}' && !modifiers.empty())) return "";
  if (c == '{' || c == '}' || !modifiers.empty()) {
    return Named(modifiers, absl::string_view(&c, 1));
  }
  return std::string(1, c);
}

// The length of the whole sequence at the beginning of `bytes`, which is an escape character and
// more; 0 if its end is not there yet.
size_t SequenceLength(absl::string_view bytes) {
  if (bytes[1] == 'O') return bytes.size() < 3 ? 0 : 3;
  if (bytes[1] != '[') return 2;
  if (bytes.size() > 2 && bytes[2] == '[') return bytes.size() < 4 ? 0 : 4;
  for (size_t i = 2; i < bytes.size(); ++i) {
    if (bytes[i] >= 0x40 && bytes[i] <= 0x7e) return i + 1;
    if (i >= kMaxSequence) return i + 1;
  }
  return 0;
}

// What a whole sequence stands for.
std::string Sequence(absl::string_view bytes) {
  const absl::string_view last = bytes.substr(bytes.size() - 1);
  if (bytes[1] == 'O') return Named("", Find(kLetters, last));
  if (bytes[1] != '[') return Character("alt+", bytes[1]);
  if (bytes[2] == '[') return Named("", Find(kConsole, last));
  if (last == "Z") return "{shift+tab}";
  const std::vector<absl::string_view> numbers =
      absl::StrSplit(bytes.substr(2, bytes.size() - 3), ';');
  const std::string modifiers = numbers.size() > 1 ? Modifiers(numbers[1]) : "";
  return Named(modifiers, last == "~" ? Find(kNumbers, numbers[0]) : Find(kLetters, last));
}

}  // namespace

std::string ScreenPainter::Clear() {
  shown_.clear();
  rows_ = columns_ = 0;
  cursor_.clear();
  return "\x1b[0m\x1b[2J";
}

std::string ScreenPainter::Enter() {
  size_ = {};
  shows_graphics_ = false;
  // The alternate screen, and no wrapping at the end of a line.
  return absl::StrCat("\x1b[?1049h\x1b[?7l", Clear());
}

std::string ScreenPainter::Leave() { return "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"; }

std::string ScreenPainter::Paint(const TextScreen& screen, TerminalSize size) {
  if (size.rows == 0 || size.columns == 0) size = kUsualSize;
  std::string out;
  const bool resized = size != size_;
  size_ = size;
  if (screen.graphics()) {
    if (shows_graphics_ && !resized) return out;
    shows_graphics_ = true;
    return absl::StrCat(Clear(), MoveTo(0, 0), graphics_.substr(0, size.columns), "\x1b[?25l");
  }
  const uint32_t rows = std::min<uint32_t>(screen.rows, size.rows);
  const uint32_t columns = std::min<uint32_t>(screen.columns, size.columns);
  if (resized || shows_graphics_ || rows != rows_ || columns != columns_) {
    out = Clear();
    shows_graphics_ = false;
    rows_ = rows;
    columns_ = columns;
    shown_.resize(size_t{rows} * columns);
    if (size.rows > rows) {
      absl::StrAppend(&out, MoveTo(size.rows - 1, 0), "\x1b[7m", hint_.substr(0, size.columns));
    }
  }
  // As far down as the cursor wants, and no farther up and down than that.
  first_row_ = std::min(first_row_, screen.rows - rows);
  if (screen.cursor_shown) {
    first_row_ =
        std::clamp(first_row_, screen.cursor_row + 1 - std::min(rows, screen.cursor_row + 1),
                   screen.cursor_row);
    first_row_ = std::min(first_row_, screen.rows - rows);
  }
  std::optional<uint8_t> style;
  for (uint32_t row = 0; row < rows; ++row) {
    bool there = false;  // the terminal's cursor is where the next cell goes
    for (uint32_t column = 0; column < columns; ++column) {
      const ScreenCell& cell = screen.cells[size_t{first_row_ + row} * screen.columns + column];
      std::optional<ScreenCell>& shown = shown_[size_t{row} * columns + column];
      if (shown == cell) {
        there = false;
        continue;
      }
      if (!there) out += MoveTo(row, column);
      if (style != cell.attribute) out += Style(cell.attribute);
      style = cell.attribute;
      absl::StrAppend(&out, Cp437ToUtf8(cell.character));
      shown = cell;
      there = true;
    }
  }
  const bool visible = screen.cursor_shown && screen.cursor_column < columns;
  std::string cursor = "\x1b[?25l";
  if (visible) {
    cursor =
        absl::StrCat(MoveTo(screen.cursor_row - first_row_, screen.cursor_column), "\x1b[?25h");
  }
  if (!out.empty() || cursor != cursor_) out += cursor;
  cursor_ = std::move(cursor);
  return out;
}

std::string TypedKeys::Feed(absl::string_view bytes) {
  kept_.append(bytes.data(), bytes.size());
  std::string keys;
  absl::string_view rest = kept_;
  while (!rest.empty()) {
    if (rest[0] != kEscape) {
      absl::StrAppend(&keys, Character("", rest[0]));
      rest.remove_prefix(1);
      continue;
    }
    const size_t length = rest.size() < 2 ? 0 : SequenceLength(rest);
    if (length == 0) break;
    absl::StrAppend(&keys, Sequence(rest.substr(0, length)));
    rest.remove_prefix(length);
  }
  kept_ = std::string(rest);
  return keys;
}

std::string TypedKeys::Flush() {
  const std::string kept = std::exchange(kept_, std::string());
  if (kept.empty()) return "";
  // The key itself, or with Alt what else begins a sequence.
  if (kept.size() == 1) return "{esc}";
  return kept.size() == 2 ? Character("alt+", kept[1]) : "";
}

}  // namespace hull::container
