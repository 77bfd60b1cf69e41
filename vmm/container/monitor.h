// The parent of one container's VMM: starts it, speaks to the guest's agent, passes the streams
// between agent and client, and clears away.

#ifndef VMM_CONTAINER_MONITOR_H_
#define VMM_CONTAINER_MONITOR_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/container_store.h"
#include "vmm/container/vmm_process.h"
#include "vmm/sandbox/monitor_sandbox.h"
#include "vmm/sandbox/user_range.h"

namespace hull::container {

// What the client that starts the container is to it.
enum class ClientMode {
  // It owns the container: when it goes away, so does the container, as with a terminal that is
  // closed. It gets the output, and is waited for.
  kOwner,
  // It gets the output and is waited for; the container outlives it.
  kAttached,
  // It is told of the start and of the end, and of nothing in between.
  kDetached,
};

struct MonitorOptions {
  std::string id;  // of a container that ContainerStore::Create made
  StorePaths paths;
  MachineFiles files;
  // Of which the VMM gets a user of its own, where this process is root.
  sandbox::UserRange users = sandbox::kDefaultUserRange;
  // The container's lock, which the monitor holds until it ends.
  UniqueFd lock;
  // The client that starts the container (attach_protocol.h).
  UniqueFd client;
  // Into the sandbox that the monitor is in while its VMM runs. Tests under the sanitizers, whose
  // runtime needs more, have another.
  std::function<absl::Status(const sandbox::MonitorSandbox&)> confine = sandbox::ConfineMonitor;
  ClientMode client_mode = ClientMode::kOwner;
};

// Whether this host's processor is one that QEMU emulates, as in Hull's emulated host.
bool OnEmulatedProcessor();

// Deadlines, all generous: they end what is broken, not what is slow.
struct MonitorDeadlines {
  absl::Duration boot;      // from the VMM's start to the agent's connection
  absl::Duration start;     // from there to the process's start or its failure
  absl::Duration drain;     // from the process's end to that of its output, while the client reads
  absl::Duration shutdown;  // from the order to the VMM's end
  // The same of a container with disks, which the guest writes its memory to before it ends: the
  // host's may be slow.
  absl::Duration flush = absl::Minutes(5);

  // Longer where the processor itself is emulated.
  static MonitorDeadlines Default();
};

// Runs the container from start to end; returns when nothing of it is left but what is to be kept.
// The outcome goes to the client and into state.json. An error means that not even the
// container's configuration could be read.
absl::Status RunMonitor(MonitorOptions options, const MonitorDeadlines& deadlines);

}  // namespace hull::container

#endif  // VMM_CONTAINER_MONITOR_H_
