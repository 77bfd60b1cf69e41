// What a client's process sends, as one that its client has broken into may.

#include <cstdint>
#include <cstdlib>
#include <variant>

#include "vmm/display/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using hull::display::Keys;
  using hull::display::Movement;
  const absl::string_view message(reinterpret_cast<const char*>(data), size);
  const hull::display::Input input = hull::display::ParseInput(message);
  // What is taken is sent the same.
  if (const auto* keys = std::get_if<Keys>(&input)) {
    if (hull::display::EncodeKeys(keys->codes) != message) std::abort();
  }
  if (const auto* movement = std::get_if<Movement>(&input)) {
    if (!(hull::display::ParseInput(hull::display::EncodeMovement(*movement)) == input)) {
      std::abort();
    }
  }
  return 0;
}
