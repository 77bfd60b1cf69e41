// Lines of a log: what is taken for an entry is written as it was read.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/string_view.h"
#include "vmm/container/log_format.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hull::container;
  // SAFETY: bytes are bytes.
  const absl::string_view line(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<LogEntry> entry = ParseLogEntry(line);
  if (!entry.ok()) return 0;
  std::string again;
  AppendLogEntry(*entry, &again);
  // But for dates as the 31st of February, which have another name.
  const absl::StatusOr<LogEntry> reread =
      ParseLogEntry(absl::string_view(again).substr(0, again.size() - 1));
  if (!reread.ok() || reread->unix_ns != entry->unix_ns || reread->stream != entry->stream ||
      reread->ends_line != entry->ends_line || reread->content != entry->content) {
    abort();
  }
  return 0;
}
