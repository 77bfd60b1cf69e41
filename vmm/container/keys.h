// The language of `hull sendkeys`: text and named keys as what a keyboard sends.
//
//   dir{enter}            characters are typed on a keyboard of the US; a line break is Enter
//   {f1} {alt+f4}         keys by name, held down together with modifiers
//   {ctrl+alt+del}
//   {0x1e}{0x9e}          codes of scan code set 1, as they are
//   {{} {}}               braces
//
// Source of the codes: IBM PS/2 Hardware Interface Technical Reference, "Keyboards", scan code
// set 1.

#ifndef VMM_CONTAINER_KEYS_H_
#define VMM_CONTAINER_KEYS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::container {

// Longer texts are refused.
inline constexpr size_t kMaxKeysText = 4096;

// What belongs together: the codes of one key with its modifiers, pressed and released.
using KeyStroke = std::vector<uint8_t>;

// kInvalidArgument, fit for the user, with the position (the first character is 1) of what is no
// key. Pure.
absl::StatusOr<std::vector<KeyStroke>> ParseKeys(absl::string_view text);

// Where a key is on the keyboard.
struct KeyPosition {
  uint8_t code = 0;       // when pressed; a release has bit 7 set
  bool extended = false;  // 0xe0 is sent before each code
  bool shift = false;     // the character is typed with Shift held down

  friend bool operator==(const KeyPosition&, const KeyPosition&) = default;
};

// Nothing if a keyboard of the US has no such character. Pure.
std::optional<KeyPosition> PositionOfCharacter(char character);
// Of a key or a modifier by the name that it has above. Pure.
std::optional<KeyPosition> PositionOfKey(absl::string_view name);

// The codes of pressing or releasing it, without Shift.
void AppendPress(const KeyPosition& key, std::vector<uint8_t>* codes);
void AppendRelease(const KeyPosition& key, std::vector<uint8_t>* codes);

// The names of keys and modifiers, for help texts.
std::string KeyNames();

}  // namespace hull::container

#endif  // VMM_CONTAINER_KEYS_H_
