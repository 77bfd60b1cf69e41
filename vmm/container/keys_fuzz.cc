// The input is a text of keys: what is understood is pressed and released, and fits into requests.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "vmm/container/keys.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto strokes = hull::container::ParseKeys(text);
  if (!strokes.ok()) return 0;
  if (strokes->size() > text.size()) abort();
  for (const hull::container::KeyStroke& stroke : *strokes) {
    if (stroke.empty() || stroke.size() > 128) abort();
  }
  return 0;
}
