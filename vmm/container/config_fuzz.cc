// config.json and state.json of any content: what is accepted comes back as it was.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "vmm/container/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = hull::container::ParseConfig(text);
  if (config.ok()) {
    const auto again = hull::container::ParseConfig(hull::container::SerializeConfig(*config));
    if (!again.ok() || !(*again == *config)) abort();
  }
  const auto state = hull::container::ParseState(text);
  if (state.ok()) {
    const auto again = hull::container::ParseState(hull::container::SerializeState(*state));
    if (!again.ok() || !(*again == *state)) abort();
  }
  return 0;
}
