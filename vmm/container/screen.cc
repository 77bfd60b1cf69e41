#include "vmm/container/screen.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace hull::container {
namespace {

// Code page 437 with the pictures that a PC's screen shows for what are control characters
// elsewhere; 0 and 255 are blank.
constexpr absl::string_view kCp437[256] = {
    " ", "☺", "☻", "♥", "♦", "♣", "♠", "•", "◘", "○", "◙", "♂", "♀", "♪", "♫", "☼",  "►",  "◄", "↕",
    "‼", "¶", "§", "▬", "↨", "↑", "↓", "→", "←", "∟", "↔", "▲", "▼", " ", "!", "\"", "#",  "$", "%",
    "&", "'", "(", ")", "*", "+", ",", "-", ".", "/", "0", "1", "2", "3", "4", "5",  "6",  "7", "8",
    "9", ":", ";", "<", "=", ">", "?", "@", "A", "B", "C", "D", "E", "F", "G", "H",  "I",  "J", "K",
    "L", "M", "N", "O", "P", "Q", "R", "S", "T", "U", "V", "W", "X", "Y", "Z", "[",  "\\", "]", "^",
    "_", "`", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n",  "o",  "p", "q",
    "r", "s", "t", "u", "v", "w", "x", "y", "z", "{", "|", "}", "~", "⌂", "Ç", "ü",  "é",  "â", "ä",
    "à", "å", "ç", "ê", "ë", "è", "ï", "î", "ì", "Ä", "Å", "É", "æ", "Æ", "ô", "ö",  "ò",  "û", "ù",
    "ÿ", "Ö", "Ü", "¢", "£", "¥", "₧", "ƒ", "á", "í", "ó", "ú", "ñ", "Ñ", "ª", "º",  "¿",  "⌐", "¬",
    "½", "¼", "¡", "«", "»", "░", "▒", "▓", "│", "┤", "╡", "╢", "╖", "╕", "╣", "║",  "╗",  "╝", "╜",
    "╛", "┐", "└", "┴", "┬", "├", "─", "┼", "╞", "╟", "╚", "╔", "╩", "╦", "╠", "═",  "╬",  "╧", "╨",
    "╤", "╥", "╙", "╘", "╒", "╓", "╫", "╪", "┘", "┌", "█", "▄", "▌", "▐", "▀", "α",  "ß",  "Γ", "π",
    "Σ", "σ", "µ", "τ", "Φ", "Θ", "Ω", "δ", "∞", "φ", "ε", "∩", "≡", "±", "≥", "≤",  "⌠",  "⌡", "÷",
    "≈", "°", "∙", "·", "√", "ⁿ", "²", "■", " "};

constexpr size_t kTextHeader = 10;

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("the machine answered with what is no ", what));
}

uint32_t NumberAt(absl::string_view reply, size_t offset, size_t bytes) {
  uint32_t number = 0;
  for (size_t i = 0; i < bytes; ++i) {
    number |= uint32_t{static_cast<uint8_t>(reply[offset + i])} << (8 * i);
  }
  return number;
}

}  // namespace

absl::StatusOr<TextScreen> ParseTextReply(absl::string_view reply) {
  if (reply.size() < kTextHeader || reply[0] != 'T') return Malformed("screen");
  TextScreen screen;
  screen.columns = NumberAt(reply, 1, 2);
  screen.rows = NumberAt(reply, 3, 2);
  screen.cursor_shown = reply[5] != 0;
  screen.cursor_column = NumberAt(reply, 6, 2);
  screen.cursor_row = NumberAt(reply, 8, 2);
  if (screen.columns > kMaxScreenColumns || screen.rows > kMaxScreenRows ||
      (screen.columns == 0) != (screen.rows == 0)) {
    return Malformed("screen");
  }
  const size_t cells = size_t{screen.columns} * screen.rows;
  if (reply.size() != kTextHeader + 2 * cells) return Malformed("screen");
  if (screen.cursor_column >= screen.columns || screen.cursor_row >= screen.rows) {
    screen.cursor_shown = false;
    screen.cursor_column = screen.cursor_row = 0;
  }
  screen.cells.reserve(cells);
  for (size_t i = 0; i < cells; ++i) {
    screen.cells.push_back({.character = static_cast<uint8_t>(reply[kTextHeader + 2 * i]),
                            .attribute = static_cast<uint8_t>(reply[kTextHeader + 2 * i + 1])});
  }
  return screen;
}

absl::StatusOr<size_t> ParseKeysReply(absl::string_view reply, size_t sent) {
  if (reply.size() != 3 || reply[0] != 'K') return Malformed("answer to keys");
  const size_t taken = NumberAt(reply, 1, 2);
  if (taken > sent) return Malformed("answer to keys");
  return taken;
}

absl::StatusOr<PictureSize> ParsePictureReply(absl::string_view reply) {
  if (reply.size() != 9 || reply[0] != 'P') return Malformed("picture");
  const PictureSize size = {.width = NumberAt(reply, 1, 4), .height = NumberAt(reply, 5, 4)};
  if (size.width == 0 || size.height == 0) {
    return absl::FailedPreconditionError("the machine's screen shows nothing yet");
  }
  if (size.width > kMaxPictureSide || size.height > kMaxPictureSide ||
      uint64_t{size.width} * size.height > kMaxPicturePixels) {
    return Malformed("picture");
  }
  return size;
}

absl::StatusOr<absl::string_view> ParsePixelsReply(absl::string_view reply, size_t wanted) {
  if (reply.size() < 2 || reply[0] != 'R') return Malformed("part of a picture");
  const absl::string_view pixels = reply.substr(1);
  if (pixels.size() > wanted) return Malformed("part of a picture");
  return pixels;
}

absl::string_view Cp437ToUtf8(uint8_t character) { return kCp437[character]; }

std::string RowText(const TextScreen& screen, uint32_t row) {
  std::string text;
  size_t end = 0;
  for (uint32_t column = 0; column < screen.columns; ++column) {
    const absl::string_view character =
        Cp437ToUtf8(screen.cells[size_t{row} * screen.columns + column].character);
    absl::StrAppend(&text, character);
    if (character != " ") end = text.size();
  }
  text.resize(end);
  return text;
}

std::string ScreenText(const TextScreen& screen) {
  std::string text;
  size_t end = 0;
  for (uint32_t row = 0; row < screen.rows; ++row) {
    const std::string line = RowText(screen, row);
    absl::StrAppend(&text, line, "\n");
    if (!line.empty()) end = text.size();
  }
  text.resize(end);
  return text;
}

}  // namespace hull::container
