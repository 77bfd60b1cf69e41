// The input is what a terminal sends: the keys that it stands for are such that can be typed.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "vmm/container/keys.h"
#include "vmm/container/pc_terminal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 256) return 0;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  hull::container::TypedKeys typed;
  const std::string first = typed.Feed(bytes.substr(0, size / 2));
  const std::string second = typed.Feed(bytes.substr(size / 2));
  const std::string last = typed.Flush();
  for (const std::string& keys : {first, second, last}) {
    if (!hull::container::ParseKeys(keys).ok()) abort();
  }
  if (typed.pending()) abort();
  return 0;
}
