// What a pc machine answers about its screen (vmm/machine/control_protocol.h), and text of it that
// is fit for a terminal or a file. The machine is the guest's as soon as that has broken out of it,
// so that every reply is hostile input.

#ifndef VMM_CONTAINER_SCREEN_H_
#define VMM_CONTAINER_SCREEN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::container {

// Larger screens are not believed.
inline constexpr uint32_t kMaxScreenColumns = 256;
inline constexpr uint32_t kMaxScreenRows = 128;
inline constexpr uint32_t kMaxPictureSide = 4096;
// Of width times height.
inline constexpr uint64_t kMaxPicturePixels = uint64_t{4} << 20;
// No reply is longer: a text screen of that size, or the pixels of one reply.
inline constexpr size_t kMaxControlReply = 10 + 2 * kMaxScreenColumns * kMaxScreenRows;

struct ScreenCell {
  uint8_t character = 0;  // in code page 437
  uint8_t attribute = 0;  // foreground in the low four bits, background in the high four

  friend bool operator==(const ScreenCell&, const ScreenCell&) = default;
};

// Of no columns and no rows while graphics are shown.
struct TextScreen {
  uint32_t columns = 0;
  uint32_t rows = 0;
  bool cursor_shown = false;
  uint32_t cursor_column = 0;
  uint32_t cursor_row = 0;
  std::vector<ScreenCell> cells;  // row by row

  bool graphics() const { return columns == 0; }

  friend bool operator==(const TextScreen&, const TextScreen&) = default;
};

// Each takes the whole reply to the request of that letter. kInvalidArgument for what is none, or
// is out of the bounds above. Pure.
absl::StatusOr<TextScreen> ParseTextReply(absl::string_view reply);
// How many codes were taken, at most `sent`.
absl::StatusOr<size_t> ParseKeysReply(absl::string_view reply, size_t sent);
struct PictureSize {
  uint32_t width = 0;
  uint32_t height = 0;
};
absl::StatusOr<PictureSize> ParsePictureReply(absl::string_view reply);
// The bytes of the picture that are there, at most `wanted` and at least one.
absl::StatusOr<absl::string_view> ParsePixelsReply(absl::string_view reply, size_t wanted);

// A character of code page 437 as UTF-8: never a control character.
absl::string_view Cp437ToUtf8(uint8_t character);

// A row as UTF-8 without blanks at its end.
std::string RowText(const TextScreen& screen, uint32_t row);
// All rows, each with a line break, without blank rows at the end.
std::string ScreenText(const TextScreen& screen);

}  // namespace hull::container

#endif  // VMM_CONTAINER_SCREEN_H_
