// How somebody outside looks at the screen of a pc machine and types on its keyboard.
//
// The transport is a SOCK_SEQPACKET socket: each request is one message, and so is its reply, in
// the order of the requests. Numbers are little-endian. A message starts with a letter:
//
//   request                                   reply
//   'T'                                       'T', columns (16 bits), rows (16), whether the cursor
//                                             is shown (8), its column (16) and row (16), and for
//                                             each cell its character and its attribute. No columns
//                                             and rows while a graphics mode is shown
//   'K', codes of scan code set 1             'K', how many of them were taken (16): the guest has
//                                             yet to read others
//   'M', dx, dy (16 each, signed; to the      'M'
//        right and upwards), buttons (8)
//   'P': draw a picture, and keep it          'P', width (32), height (32)
//   'R', offset (32)                          'R', bytes of that picture from there on: red, green
//                                             and blue of each pixel, row by row; at most
//                                             kMaxPixels of them, none behind its end
//   anything else                             'E'

#ifndef VMM_MACHINE_CONTROL_PROTOCOL_H_
#define VMM_MACHINE_CONTROL_PROTOCOL_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

namespace hull::machine::control {

inline constexpr size_t kMaxKeys = 256;
inline constexpr size_t kMaxRequest = 1 + kMaxKeys;
inline constexpr size_t kMaxPixels = 48 << 10;

struct TextRequest {};
struct KeysRequest {
  std::span<const uint8_t> codes;  // Of the request's own bytes.
};
struct MouseRequest {
  int16_t dx = 0;
  int16_t dy = 0;
  uint8_t buttons = 0;
};
struct PictureRequest {};
struct PixelsRequest {
  uint32_t offset = 0;
};
struct BadRequest {};

using Request =
    std::variant<BadRequest, TextRequest, KeysRequest, MouseRequest, PictureRequest, PixelsRequest>;

// Pure.
Request Parse(std::span<const uint8_t> message);

// Builds a reply.
class Reply {
 public:
  explicit Reply(char letter) : bytes_{static_cast<uint8_t>(letter)} {}
  Reply& Put8(uint8_t value);
  Reply& Put16(uint32_t value);
  Reply& Put32(uint32_t value);
  Reply& Put(std::span<const uint8_t> bytes);
  std::span<const uint8_t> bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace hull::machine::control

#endif  // VMM_MACHINE_CONTROL_PROTOCOL_H_
