#include "vmm/container/log_format.h"

#include <time.h>

#include <algorithm>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace hull::container {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
// "2026-11-24T22:24:00.123456789Z"
constexpr size_t kTimeBytes = 30;
constexpr size_t kYearDigits = 4;
constexpr size_t kFractionDigits = 9;

const char* StreamName(LogStream stream) {
  switch (stream) {
    case LogStream::kStandardOutput:
      return "stdout";
    case LogStream::kStandardError:
      return "stderr";
    case LogStream::kDropped:
      return "dropped";
  }
  return "";
}

void AppendDigits(int64_t value, size_t digits, std::string* out) {
  const size_t begin = out->size();
  out->resize(begin + digits);
  for (size_t i = digits; i > 0; --i, value /= 10) {
    (*out)[begin + i - 1] = static_cast<char>('0' + value % 10);
  }
}

// Takes so many digits and the byte after them.
std::optional<int64_t> TakeDigits(absl::string_view* text, size_t digits, char end) {
  if (text->size() <= digits || (*text)[digits] != end) return std::nullopt;
  int64_t value = 0;
  for (const char c : text->substr(0, digits)) {
    if (!absl::ascii_isdigit(c)) return std::nullopt;
    value = value * 10 + (c - '0');
  }
  text->remove_prefix(digits + 1);
  return value;
}

// Days from 1970-01-01, of a year from 1970 on in the Gregorian calendar; the month counts from 1.
int64_t DaysSince1970(int64_t year, int64_t month, int64_t day) {
  // Years that begin in March have their leap day at the end.
  const int64_t y = month <= 2 ? year - 1 : year;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

std::optional<int64_t> ParseTime(absl::string_view text) {
  const auto year = TakeDigits(&text, kYearDigits, '-');
  const auto month = year.has_value() ? TakeDigits(&text, 2, '-') : std::nullopt;
  const auto day = month.has_value() ? TakeDigits(&text, 2, 'T') : std::nullopt;
  const auto hour = day.has_value() ? TakeDigits(&text, 2, ':') : std::nullopt;
  const auto minute = hour.has_value() ? TakeDigits(&text, 2, ':') : std::nullopt;
  const auto second = minute.has_value() ? TakeDigits(&text, 2, '.') : std::nullopt;
  const auto fraction = second.has_value() ? TakeDigits(&text, kFractionDigits, 'Z') : std::nullopt;
  if (!fraction.has_value() || !text.empty()) return std::nullopt;
  // The last year of which every nanosecond has a number of 64 bits is 2261.
  if (*year < 1970 || *year > 2261 || *month < 1 || *month > 12 || *day < 1 || *day > 31 ||
      *hour > 23 || *minute > 59 || *second > 59) {
    return std::nullopt;
  }
  const int64_t seconds =
      DaysSince1970(*year, *month, *day) * 86400 + *hour * 3600 + *minute * 60 + *second;
  return seconds * kNsPerSecond + *fraction;
}

}  // namespace

std::string LogPath(absl::string_view directory, int age) {
  return age == 0 ? absl::StrCat(directory, "/log") : absl::StrCat(directory, "/log.", age);
}

void AppendLogTime(int64_t unix_ns, std::string* out) {
  const time_t seconds = unix_ns / kNsPerSecond;
  tm parts = {};
  gmtime_r(&seconds, &parts);
  AppendDigits(parts.tm_year + 1900, kYearDigits, out);
  for (const auto& [separator, value] :
       {std::pair('-', parts.tm_mon + 1), std::pair('-', parts.tm_mday),
        std::pair('T', parts.tm_hour), std::pair(':', parts.tm_min),
        std::pair(':', parts.tm_sec)}) {
    *out += separator;
    AppendDigits(value, 2, out);
  }
  *out += '.';
  AppendDigits(unix_ns % kNsPerSecond, kFractionDigits, out);
  *out += 'Z';
}

void AppendLogEntry(const LogEntry& entry, std::string* out) {
  AppendLogTime(entry.unix_ns, out);
  absl::StrAppend(out, " ", StreamName(entry.stream), entry.ends_line ? " F " : " P ",
                  entry.content, "\n");
}

absl::StatusOr<LogEntry> ParseLogEntry(absl::string_view line) {
  const absl::Status malformed = absl::InvalidArgumentError("not an entry of a log");
  if (line.size() <= kTimeBytes || line[kTimeBytes] != ' ') return malformed;
  const std::optional<int64_t> time = ParseTime(line.substr(0, kTimeBytes));
  if (!time.has_value()) return malformed;
  LogEntry entry = {.unix_ns = *time};
  line.remove_prefix(kTimeBytes + 1);
  const size_t space = line.find(' ');
  // The space, F or P, and a space.
  if (space == absl::string_view::npos || line.size() < space + 3 || line[space + 2] != ' ') {
    return malformed;
  }
  bool known = false;
  for (const LogStream stream :
       {LogStream::kStandardOutput, LogStream::kStandardError, LogStream::kDropped}) {
    if (line.substr(0, space) != StreamName(stream)) continue;
    entry.stream = stream;
    known = true;
  }
  const char tag = line[space + 1];
  entry.content = line.substr(space + 3);
  entry.ends_line = tag == 'F';
  if (!known || (tag != 'F' && tag != 'P')) return malformed;
  if (entry.stream == LogStream::kDropped &&
      (entry.content.empty() || entry.content.size() > 20 ||
       !std::all_of(entry.content.begin(), entry.content.end(), absl::ascii_isdigit))) {
    return malformed;
  }
  return entry;
}

}  // namespace hull::container
