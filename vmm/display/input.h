// What the process of a client passes on of its keyboard and mouse: messages over a Unix socket of
// type SOCK_SEQPACKET.
//
//   'K', 1 to kMaxCodes codes of scan code set 1
//   'M', dx, dy (16 bits each, signed, little-endian; to the right and upwards), buttons (8 bits:
//        1 left, 2 right, 4 middle)

#ifndef VMM_DISPLAY_INPUT_H_
#define VMM_DISPLAY_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"

namespace hull::display {

// More than all keys of a keyboard pressed or released.
inline constexpr size_t kMaxCodes = 256;
inline constexpr size_t kMaxInput = 1 + kMaxCodes;

struct Keys {
  std::vector<uint8_t> codes = {};

  friend bool operator==(const Keys&, const Keys&) = default;
};
struct Movement {
  int16_t dx = 0;
  int16_t dy = 0;
  uint8_t buttons = 0;

  friend bool operator==(const Movement&, const Movement&) = default;
};
struct BadInput {
  friend bool operator==(const BadInput&, const BadInput&) = default;
};
using Input = std::variant<BadInput, Keys, Movement>;

// Pure. The process that sends is its client's as soon as that has broken into it.
Input ParseInput(absl::string_view message);

std::string EncodeKeys(const std::vector<uint8_t>& codes);
std::string EncodeMovement(const Movement& movement);

}  // namespace hull::display

#endif  // VMM_DISPLAY_INPUT_H_
