// The lines of a container's log, in the format of the Kubernetes container runtime interface
// (CRI), which tools that collect logs read:
//
//   2026-11-24T22:24:00.123456789Z stdout F what the process printed\n
//
// Time in UTC, stream, F for the rest of a line or P for a part that goes on in the next entry of
// the same stream, and the bytes as they were printed, without the line break. A stream of Hull's
// own, "dropped", says how many entries could not be written at that place:
//
//   2026-11-24T22:24:07.000000000Z dropped F 12\n
//
// The newest entries are in `log`, older ones in `log.1` and `log.2`.

#ifndef VMM_CONTAINER_LOG_FORMAT_H_
#define VMM_CONTAINER_LOG_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::container {

enum class LogStream { kStandardOutput, kStandardError, kDropped };

// Files of one container's log.
inline constexpr int kLogFiles = 3;
// Their default and least size.
inline constexpr uint64_t kDefaultLogMaxBytes = uint64_t{10} << 20;
inline constexpr uint64_t kMinLogMaxBytes = 65536;
// What a process prints without a line break is cut into parts of at most so many bytes.
inline constexpr size_t kMaxLogContentBytes = 16384;
// No entry is longer, the line break included.
inline constexpr size_t kMaxLogEntryBytes = kMaxLogContentBytes + 64;

struct LogEntry {
  int64_t unix_ns = 0;
  LogStream stream = LogStream::kStandardOutput;
  bool ends_line = true;           // F
  absl::string_view content = {};  // of a kDropped entry, a decimal number
};

// The file that is `age` rotations old, 0 to kLogFiles - 1, in a container's state directory.
std::string LogPath(absl::string_view directory, int age);

// Appends the entry and a line break. The content has no line break.
void AppendLogEntry(const LogEntry& entry, std::string* out);

// `line` is without its line break. kInvalidArgument for what AppendLogEntry() does not write, such
// as the half entry of a crash.
absl::StatusOr<LogEntry> ParseLogEntry(absl::string_view line);

// RFC 3339 with nine digits of a second, in UTC: 30 bytes from the year 1970 to 9999.
void AppendLogTime(int64_t unix_ns, std::string* out);

}  // namespace hull::container

#endif  // VMM_CONTAINER_LOG_FORMAT_H_
