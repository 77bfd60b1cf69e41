// The values of flags and the lines of env files, of any content.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "vmm/container/environment.h"
#include "vmm/container/limits.h"
#include "vmm/container/names.h"
#include "vmm/container/signals.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hull::container;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  constexpr uint64_t kHost = uint64_t{1} << 40;
  const auto bytes = ParseMemory(text, kHost);
  if (bytes.ok() && (*bytes < kMinMemoryBytes || *bytes > kHost || *bytes % 4096 != 0)) abort();
  const auto storage = ParseStorageSize(text);
  if (storage.ok() && (*storage < kMinStorageBytes || *storage > kMaxStorageBytes ||
                       *storage % (uint64_t{1} << 20) != 0)) {
    abort();
  }
  const auto cpus = ParseCpus(text);
  if (cpus.ok() &&
      (cpus->count < kMinCpus || cpus->count > kMaxCpus || cpus->millis < kMinCpuMillis ||
       cpus->millis > cpus->count * 1000u || cpus->millis + 1000 <= cpus->count * 1000u)) {
    abort();
  }
  const auto signal = ParseSignal(text);
  if (signal.ok() && (*signal < 1 || *signal > 64)) abort();
  ParseSeconds(text).status().IgnoreError();
  if (ValidateName(text).ok() && text.find('/') != absl::string_view::npos) abort();
  ValidateHostname(text).IgnoreError();

  Environment environment({"HOME=/root", "A", "=odd", "LC_ALL=C"});
  environment.AddFile("file", text).IgnoreError();
  for (const std::string& variable : environment.variables()) {
    if (variable.find('=') == std::string::npos || variable.find('\0') != std::string::npos)
      abort();
  }
  return 0;
}
