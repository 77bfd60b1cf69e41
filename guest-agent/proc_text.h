// What the kernel says in /proc, taken apart. Pure. Names in it are the container's choice, and may
// hold any byte.

#ifndef GUEST_AGENT_PROC_TEXT_H_
#define GUEST_AGENT_PROC_TEXT_H_

#include <cstdint>
#include <optional>
#include <string_view>

namespace hull::agent {

// /proc/PID/stat. Times in ticks of 10 ms (USER_HZ).
struct ProcessStat {
  std::string_view name;  // points into the text
  char state = '?';
  uint32_t terminal = 0;
  uint64_t cpu_ticks = 0;
  uint32_t threads = 0;
  uint64_t start_ticks = 0;  // after the boot
};
std::optional<ProcessStat> ParseProcessStat(std::string_view text);

// /proc/PID/status.
struct ProcessStatus {
  uint32_t parent_pid = 0;  // in the reader's pid namespace
  uint32_t uid = 0;         // effective
  // Its pid in the namespace below the reader's; 0: it is in the reader's own.
  uint32_t inner_pid = 0;
};
std::optional<ProcessStatus> ParseProcessStatus(std::string_view text);

// The number of the line `name: NUMBER kB` of /proc/meminfo, in bytes; 0 if there is none.
uint64_t MemoryBytes(std::string_view meminfo, std::string_view name);

// /proc/stat. Busy: all but idle, waiting for disks, and stolen.
struct CpuTimes {
  uint32_t cpus = 0;
  uint64_t busy_ticks = 0;
};
CpuTimes ParseCpuTimes(std::string_view text);

// /proc/diskstats: the sum over virtio disks (vda, ..., not their partitions).
struct DiskCounts {
  uint64_t reads = 0;
  uint64_t read_bytes = 0;
  uint64_t writes = 0;
  uint64_t written_bytes = 0;
};
DiskCounts ParseDiskCounts(std::string_view text);

}  // namespace hull::agent

#endif  // GUEST_AGENT_PROC_TEXT_H_
