#include "guest-agent/proc_text.h"

#include <cstddef>

#include "guest-agent/text.h"

namespace hull::agent {
namespace {

// Takes words apart that any number of spaces and tabs separate.
class Words {
 public:
  explicit Words(std::string_view text) : rest_(text) {}

  // Empty: there are no more.
  std::string_view Next() {
    rest_ = WithoutPrefix(rest_, rest_.find_first_not_of(" \t"));
    const std::string_view word = Prefix(rest_, rest_.find_first_of(" \t"));
    rest_ = WithoutPrefix(rest_, word.size());
    return word;
  }
  void Skip(int count) {
    while (count-- > 0) Next();
  }
  // The next word's digits; 0 for what is no number. Wraps beyond 64 bits, as nothing here is.
  uint64_t Number() {
    uint64_t value = 0;
    for (char c : Next()) {
      if (c < '0' || c > '9') break;
      value = value * 10 + static_cast<uint64_t>(c - '0');
    }
    return value;
  }

 private:
  std::string_view rest_;
};

// Takes the first line off `*text`.
std::string_view TakeLine(std::string_view* text) {
  const std::string_view line = Prefix(*text, text->find('\n'));
  *text = WithoutPrefix(*text, line.size() + 1);
  return line;
}

// What follows `name` at the start of a line; null data if no line does.
std::string_view FindLine(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const std::string_view line = TakeLine(&text);
    if (line.starts_with(name)) return WithoutPrefix(line, name.size());
  }
  return {};
}

constexpr uint64_t kSectorBytes = 512;

}  // namespace

std::optional<ProcessStat> ParseProcessStat(std::string_view text) {
  // The name stands in parentheses and may hold some: the last one is the kernel's.
  const size_t open = text.find('(');
  const size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) {
    return std::nullopt;
  }
  ProcessStat stat;
  stat.name = Prefix(WithoutPrefix(text, open + 1), close - open - 1);
  // Fields as numbered by proc(5): the state is the third.
  Words words(WithoutPrefix(text, close + 1));
  const std::string_view state = words.Next();
  if (state.size() != 1) return std::nullopt;
  stat.state = state[0];
  words.Skip(3);  // 4 to 6
  stat.terminal = static_cast<uint32_t>(words.Number());
  words.Skip(6);  // 8 to 13
  stat.cpu_ticks = words.Number();
  stat.cpu_ticks += words.Number();
  words.Skip(4);  // 16 to 19
  stat.threads = static_cast<uint32_t>(words.Number());
  words.Skip(1);
  stat.start_ticks = words.Number();
  return stat;
}

std::optional<ProcessStatus> ParseProcessStatus(std::string_view text) {
  const std::string_view parent = FindLine(text, "PPid:");
  const std::string_view uids = FindLine(text, "Uid:");
  const std::string_view pids = FindLine(text, "NSpid:");
  if (parent.data() == nullptr || uids.data() == nullptr || pids.data() == nullptr) {
    return std::nullopt;
  }
  ProcessStatus status;
  status.parent_pid = static_cast<uint32_t>(Words(parent).Number());
  Words uid(uids);
  uid.Skip(1);  // the real one
  status.uid = static_cast<uint32_t>(uid.Number());
  Words pid(pids);
  pid.Skip(1);  // the reader's
  status.inner_pid = static_cast<uint32_t>(pid.Number());
  return status;
}

uint64_t MemoryBytes(std::string_view meminfo, std::string_view name) {
  Words words(FindLine(meminfo, name));
  if (words.Next() != ":") return 0;
  return words.Number() * 1024;
}

CpuTimes ParseCpuTimes(std::string_view text) {
  CpuTimes times;
  while (!text.empty()) {
    Words words(TakeLine(&text));
    const std::string_view name = words.Next();
    if (name == "cpu") {
      for (int i = 0; i < 3; ++i) times.busy_ticks += words.Number();  // user, nice, system
      words.Skip(2);                                                   // idle, iowait
      for (int i = 0; i < 2; ++i) times.busy_ticks += words.Number();  // irq, softirq
    } else if (name.starts_with("cpu")) {
      ++times.cpus;
    }
  }
  return times;
}

DiskCounts ParseDiskCounts(std::string_view text) {
  DiskCounts counts;
  while (!text.empty()) {
    Words words(TakeLine(&text));
    words.Skip(2);
    const std::string_view name = words.Next();
    if (!name.starts_with("vd") || name.find_first_of("0123456789") != std::string_view::npos) {
      continue;
    }
    counts.reads += words.Number();
    words.Skip(1);
    counts.read_bytes += words.Number() * kSectorBytes;
    words.Skip(1);
    counts.writes += words.Number();
    words.Skip(1);
    counts.written_bytes += words.Number() * kSectorBytes;
  }
  return counts;
}

}  // namespace hull::agent
