// `hull logs`.

#ifndef VMM_CLI_LOGS_COMMAND_H_
#define VMM_CLI_LOGS_COMMAND_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "vmm/container/log_format.h"

namespace hull::cli {

// A moment as --since gives it: RFC 3339, seconds since 1970 (fractions too), or a span of time
// before `now` such as 10m. kInvalidArgument, fit for the user, for anything else.
absl::StatusOr<absl::Time> ParseMoment(absl::string_view text, absl::Time now);

// Entries of a log as text for the two standard streams, in their order.
class LogPrinter {
 public:
  struct Piece {
    bool to_stderr = false;
    std::string text;
  };
  struct Options {
    bool timestamps = false;
    int64_t since_unix_ns = std::numeric_limits<int64_t>::min();
    int64_t until_unix_ns = std::numeric_limits<int64_t>::max();
  };
  explicit LogPrinter(const Options& options) : options_(options) {}

  void Add(const container::LogEntry& entry);
  // Forgets all but the last so many lines of what was added and not taken.
  void KeepTail(size_t lines);
  // What was added since the last call.
  std::vector<Piece> Take();

 private:
  struct Held {
    Piece piece;
    bool begins_line;
  };
  const Options options_;
  // Of standard output and standard error: whether a line has begun and not ended.
  bool within_line_[2] = {false, false};
  std::deque<Held> held_;
  size_t held_lines_ = 0;  // that begin in it
};

// `args` is what follows the verb. Returns the exit status.
int LogsCommand(const std::vector<std::string>& args);

}  // namespace hull::cli

#endif  // VMM_CLI_LOGS_COMMAND_H_
