#include "vmm/display/input.h"

namespace hull::display {
namespace {

constexpr size_t kMovementSize = 6;

int16_t Signed16(absl::string_view bytes) {
  return static_cast<int16_t>(static_cast<uint8_t>(bytes[0]) | static_cast<uint8_t>(bytes[1]) << 8);
}

void Put16(int16_t value, std::string* out) {
  out->push_back(static_cast<char>(value & 0xff));
  out->push_back(static_cast<char>(value >> 8 & 0xff));
}

}  // namespace

Input ParseInput(absl::string_view message) {
  if (message.size() < 2 || message.size() > kMaxInput) return BadInput{};
  if (message[0] == 'K') return Keys{.codes = {message.begin() + 1, message.end()}};
  if (message[0] != 'M' || message.size() != kMovementSize) return BadInput{};
  return Movement{.dx = Signed16(message.substr(1)),
                  .dy = Signed16(message.substr(3)),
                  .buttons = static_cast<uint8_t>(message[5] & 7)};
}

std::string EncodeKeys(const std::vector<uint8_t>& codes) {
  return "K" + std::string(codes.begin(), codes.end());
}

std::string EncodeMovement(const Movement& movement) {
  std::string message = "M";
  Put16(movement.dx, &message);
  Put16(movement.dy, &message);
  message.push_back(static_cast<char>(movement.buttons));
  return message;
}

}  // namespace hull::display
