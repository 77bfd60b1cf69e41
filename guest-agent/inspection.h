// What runs in the container, and what the guest uses, read from /proc.

#ifndef GUEST_AGENT_INSPECTION_H_
#define GUEST_AGENT_INSPECTION_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "guest-agent/fd.h"
#include "guest-agent/messages.h"

namespace hull::agent {

// Reads a proc file system of the agent's own, which no container can reach; it is mounted when it
// is first needed. What cannot be read is left out, or 0.
class Inspection {
 public:
  // The container's processes with pids above `after_pid`, ascending, as many as `entries` holds;
  // returns how many. `first_pid` is the container's first process as the agent sees it, whose
  // /etc/passwd names users. `*complete`: there are no more.
  size_t ListProcesses(pid_t first_pid, uint32_t after_pid, std::span<ListedProcess> entries,
                       bool* complete);

  GuestStatistics ReadStatistics();

 private:
  // False: there is no /proc.
  bool Open();
  // As ListProcesses(), but for those that end meanwhile. `*after_pid` becomes the last that was
  // looked at.
  size_t ListPage(pid_t first_pid, uint32_t* after_pid, std::span<ListedProcess> entries,
                  bool* complete);

  Fd proc_;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_INSPECTION_H_
