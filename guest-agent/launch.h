// Starts the container's processes.

#ifndef GUEST_AGENT_LAUNCH_H_
#define GUEST_AGENT_LAUNCH_H_

#include <sys/types.h>

#include "guest-agent/failure.h"
#include "guest-agent/fd.h"
#include "guest-agent/start_request.h"

namespace hull::agent {

// The process's ends of its standard streams: three descriptors, or for a terminal the socket over
// which the process hands the terminal's master to the agent.
struct ChildStreams {
  int in = -1;
  int out = -1;
  int error = -1;
  int terminal_socket = -1;
};

struct LaunchedProcess {
  pid_t pid = -1;
  Fd pidfd;
  // Keeps the container's mounts in being after its end: taking them down costs nearly a million
  // instructions and, as long as only memory and read-only images are mounted, the machine's end
  // does as well. Invalid where the kernel cannot give it (before 6.11).
  Fd mount_namespace;
};

// Brings the loopback interface up (127.0.0.1 and ::1 come with it).
bool BringUpLoopback(Failure* failure);

// Starts the process of `request`. Returns when execve(2) has succeeded, or with what failed.
// `request` gains the variables that the agent adds. Not thread-safe and not reentrant.
//
// Without `container`: in new pid and mount namespaces, where it is PID 1. When it ends, the kernel
// ends everything that it started, and nothing in it can see the agent. With `container`, which
// runs: in the namespaces of that process, and in its root. The container's own processes can stop,
// trace or kill it from its first instruction: that delays or ends this start, and the agent with
// it, but reaches nothing beyond their own machine.
bool Launch(StartRequest* request, const ChildStreams& streams, const LaunchedProcess* container,
            LaunchedProcess* process, Failure* failure);

}  // namespace hull::agent

#endif  // GUEST_AGENT_LAUNCH_H_
