#include "guest-agent/inspection.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

#include "guest-agent/accounts.h"
#include "guest-agent/proc_text.h"
#include "guest-agent/text.h"

namespace hull::agent {
namespace {

constexpr char kProc[] = "/proc";
constexpr uint64_t kMsPerTick = 10;  // USER_HZ is 100
// A larger /etc/passwd names nobody.
constexpr size_t kMaxPasswd = 1024 * 1024;

// Holds the beginning of a small file of /proc.
class ProcFile {
 public:
  ProcFile(int directory, const char* path) {
    const Fd fd(openat(directory, path, O_RDONLY | O_CLOEXEC));
    while (fd.valid() && size_ < sizeof(text_)) {
      const ssize_t n = read(fd.get(), text_ + size_, sizeof(text_) - size_);
      if (n <= 0) break;
      size_ += static_cast<size_t>(n);
    }
  }
  std::string_view text() const { return {text_, size_}; }

 private:
  char text_[4096];
  size_t size_ = 0;
};

FixedText<32> ProcessPath(uint32_t pid, std::string_view file) {
  FixedText<32> path;
  path.Assign({Decimal(pid), "/", file});
  return path;
}

// Calls `visit` with the pid of each process, as the agent sees it.
template <typename Visit>
void ForEachProcess(int proc, Visit visit) {
  // Of its own, to begin at the beginning.
  const Fd directory(openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  alignas(dirent64) char bytes[4096];
  for (;;) {
    const long n = syscall(SYS_getdents64, directory.get(), bytes, sizeof(bytes));
    if (n <= 0) return;
    for (long at = 0; at < n;) {
      // SAFETY: the kernel writes whole, aligned entries; d_reclen says how long.
      const auto* const entry = reinterpret_cast<const dirent64*>(bytes + at);
      at += entry->d_reclen;
      uint32_t pid = 0;
      for (const char* c = entry->d_name; *c >= '0' && *c <= '9'; ++c) {
        pid = pid * 10 + static_cast<uint32_t>(*c - '0');
      }
      if (pid != 0) visit(pid);
    }
  }
}

std::optional<ProcessStatus> ReadStatus(int proc, uint32_t pid) {
  return ParseProcessStatus(ProcFile(proc, ProcessPath(pid, "status").c_str()).text());
}

// The /etc/passwd that the container sees, in memory until this object's end.
class ContainerPasswd {
 public:
  ContainerPasswd(int proc, uint32_t first_pid) {
    const Fd root(
        openat(proc, ProcessPath(first_pid, "root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    // A symbolic link of the container's leads to nowhere outside its root.
    open_how how = {};
    how.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const Fd fd(
        static_cast<int>(syscall(SYS_openat2, root.get(), "etc/passwd", &how, sizeof(how))));
    struct stat info;
    if (!fd.valid() || fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return;
    void* const memory = mmap(nullptr, kMaxPasswd, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return;
    memory_ = static_cast<char*>(memory);
    while (size_ < kMaxPasswd) {
      const ssize_t n = read(fd.get(), memory_ + size_, kMaxPasswd - size_);
      if (n <= 0) return;
      size_ += static_cast<size_t>(n);
    }
    size_ = 0;  // too large
  }
  ContainerPasswd(const ContainerPasswd&) = delete;
  ContainerPasswd& operator=(const ContainerPasswd&) = delete;
  ~ContainerPasswd() {
    if (memory_ != nullptr) munmap(memory_, kMaxPasswd);
  }
  std::string_view text() const { return {memory_, size_}; }

 private:
  char* memory_ = nullptr;
  size_t size_ = 0;
};

void ReadCommand(int proc, uint32_t pid, std::string_view name, FixedText<256>* command) {
  const ProcFile arguments(proc, ProcessPath(pid, "cmdline").c_str());
  std::string_view rest = arguments.text();
  while (!rest.empty() && rest.back() == '\0') rest.remove_suffix(1);
  if (rest.empty()) return command->Assign({"[", name, "]"});
  command->Assign({});
  while (!rest.empty()) {
    const std::string_view argument = Prefix(rest, rest.find('\0'));
    rest = WithoutPrefix(rest, argument.size() + 1);
    command->Append(argument);
    if (!rest.empty()) command->Append(" ");
  }
}

uint64_t UptimeMs() {
  timespec now = {};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

// A process that a list will have.
struct Found {
  uint32_t inner_pid;
  uint32_t pid;
};

}  // namespace

bool Inspection::Open() {
  if (proc_.valid()) return true;
  // Where no container's root is: each has a mount namespace of its own by now.
  mkdir(kProc, 0555);
  if (mount("proc", kProc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) return false;
  proc_ = Fd(open(kProc, O_PATH | O_DIRECTORY | O_CLOEXEC));
  return proc_.valid();
}

size_t Inspection::ListProcesses(pid_t first_pid, uint32_t after_pid,
                                 std::span<ListedProcess> entries, bool* complete) {
  *complete = true;
  if (!Open() || entries.size() > kMaxListedProcesses) return 0;
  size_t count = 0;
  do {
    count = ListPage(first_pid, &after_pid, entries, complete);
  } while (count == 0 && !*complete);  // all of a page have just ended
  return count;
}

size_t Inspection::ListPage(pid_t first_pid, uint32_t* after_pid, std::span<ListedProcess> entries,
                            bool* complete) {
  *complete = true;
  // The smallest of those above `after_pid`, sorted.
  Found found[kMaxListedProcesses + 1];
  size_t count = 0;
  ForEachProcess(proc_.get(), [&](uint32_t pid) {
    const std::optional<ProcessStatus> status = ReadStatus(proc_.get(), pid);
    if (!status || status->inner_pid <= *after_pid) return;
    const Found next = {status->inner_pid, pid};
    const auto smaller = [](const Found& a, const Found& b) { return a.inner_pid < b.inner_pid; };
    Found* const at = std::upper_bound(found, found + count, next, smaller);
    if (at == found + entries.size()) {
      *complete = false;
      return;
    }
    std::copy_backward(at, found + count, found + count + 1);
    *at = next;
    if (++count > entries.size()) {
      count = entries.size();
      *complete = false;
    }
  });

  if (count != 0) *after_pid = found[count - 1].inner_pid;
  const ContainerPasswd passwd(proc_.get(), static_cast<uint32_t>(first_pid));
  const uint64_t now_ms = UptimeMs();
  size_t filled = 0;
  for (size_t i = 0; i < count; ++i) {
    const std::optional<ProcessStatus> status = ReadStatus(proc_.get(), found[i].pid);
    const ProcFile stat_file(proc_.get(), ProcessPath(found[i].pid, "stat").c_str());
    const std::optional<ProcessStat> stat = ParseProcessStat(stat_file.text());
    // It may have ended since.
    if (!status || !stat || status->inner_pid != found[i].inner_pid) continue;
    const std::optional<ProcessStatus> parent = ReadStatus(proc_.get(), status->parent_pid);
    ListedProcess& entry = entries[filled++];
    entry.pid = found[i].inner_pid;
    entry.parent_pid = parent ? parent->inner_pid : 0;
    entry.uid = status->uid;
    entry.user.Assign({FindUserName(passwd.text(), status->uid)});
    entry.state = stat->state;
    entry.cpu_time_ms = stat->cpu_ticks * kMsPerTick;
    entry.elapsed_ms = now_ms - std::min(now_ms, stat->start_ticks * kMsPerTick);
    entry.terminal = stat->terminal;
    ReadCommand(proc_.get(), found[i].pid, stat->name, &entry.command);
  }
  return filled;
}

GuestStatistics Inspection::ReadStatistics() {
  GuestStatistics statistics;
  statistics.uptime_ms = UptimeMs();
  if (!Open()) return statistics;
  const ProcFile memory(proc_.get(), "meminfo");
  statistics.memory_total_bytes = MemoryBytes(memory.text(), "MemTotal");
  statistics.memory_available_bytes = MemoryBytes(memory.text(), "MemAvailable");
  statistics.memory_free_bytes = MemoryBytes(memory.text(), "MemFree");
  const CpuTimes cpu = ParseCpuTimes(ProcFile(proc_.get(), "stat").text());
  statistics.cpus = cpu.cpus;
  statistics.cpu_busy_ms = cpu.busy_ticks * kMsPerTick;
  const DiskCounts disks = ParseDiskCounts(ProcFile(proc_.get(), "diskstats").text());
  statistics.block_reads = disks.reads;
  statistics.block_read_bytes = disks.read_bytes;
  statistics.block_writes = disks.writes;
  statistics.block_written_bytes = disks.written_bytes;
  ForEachProcess(proc_.get(), [&](uint32_t pid) {
    const std::optional<ProcessStatus> status = ReadStatus(proc_.get(), pid);
    if (!status || status->inner_pid == 0) return;
    const ProcFile file(proc_.get(), ProcessPath(pid, "stat").c_str());
    const std::optional<ProcessStat> stat = ParseProcessStat(file.text());
    if (!stat) return;
    ++statistics.processes;
    statistics.threads += stat->threads;
  });
  return statistics;
}

}  // namespace hull::agent
