#include "vmm/machine/control_protocol.h"

namespace hull::machine::control {

namespace {

uint32_t LittleEndian(std::span<const uint8_t> bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) value |= uint32_t{bytes[i]} << (8 * i);
  return value;
}

}  // namespace

Request Parse(std::span<const uint8_t> message) {
  if (message.empty() || message.size() > kMaxRequest) return BadRequest{};
  const std::span<const uint8_t> rest = message.subspan(1);
  switch (message[0]) {
    case 'T':
      if (rest.empty()) return TextRequest{};
      break;
    case 'K':
      if (!rest.empty()) return KeysRequest{rest};
      break;
    case 'M':
      if (rest.size() == 5) {
        return MouseRequest{static_cast<int16_t>(LittleEndian(rest.first(2))),
                            static_cast<int16_t>(LittleEndian(rest.subspan(2, 2))), rest[4]};
      }
      break;
    case 'P':
      if (rest.empty()) return PictureRequest{};
      break;
    case 'R':
      if (rest.size() == 4) return PixelsRequest{LittleEndian(rest)};
      break;
    default:
      break;
  }
  return BadRequest{};
}

Reply& Reply::Put8(uint8_t value) {
  bytes_.push_back(value);
  return *this;
}

Reply& Reply::Put16(uint32_t value) {
  return Put8(static_cast<uint8_t>(value)).Put8(static_cast<uint8_t>(value >> 8));
}

Reply& Reply::Put32(uint32_t value) { return Put16(value).Put16(value >> 16); }

Reply& Reply::Put(std::span<const uint8_t> bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return *this;
}

}  // namespace hull::machine::control
