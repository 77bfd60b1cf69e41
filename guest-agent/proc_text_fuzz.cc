// Text of /proc with the container's names in it: nothing is read beyond it, and what points into
// it does.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "guest-agent/proc_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto stat = hull::agent::ParseProcessStat(text)) {
    const std::string_view name = stat->name;
    if (name.data() < text.data() || name.data() + name.size() > text.data() + size) std::abort();
  }
  hull::agent::ParseProcessStatus(text);
  hull::agent::MemoryBytes(text, "MemTotal");
  hull::agent::ParseCpuTimes(text);
  hull::agent::ParseDiskCounts(text);
  return 0;
}
