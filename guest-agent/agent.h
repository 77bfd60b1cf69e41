// The agent: talks to the host, supervises the container, and ends when the machine is to end.

#ifndef GUEST_AGENT_AGENT_H_
#define GUEST_AGENT_AGENT_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>

#include "guest-agent/channel.h"
#include "guest-agent/failure.h"
#include "guest-agent/fd.h"
#include "guest-agent/inspection.h"
#include "guest-agent/kernel_log.h"
#include "guest-agent/messages.h"
#include "guest-agent/poller.h"
#include "guest-agent/protocol/framing.h"
#include "guest-agent/supervised_process.h"
#include "guest-agent/terminal.h"

namespace hull::agent {

// The container's first process, and those that the host adds to it.
inline constexpr size_t kMaxProcesses = 1 + 64;

// The large part of an agent's state, mostly never touched: to be made static and constinit, where
// it is all zero, takes no space in the program's file, and nothing touches it before it is used.
struct AgentBuffers {
  uint8_t frame[kMaxHostMessageBytes];
  HostMessageDecoder decoder;
  // The first is the container's first process.
  std::optional<SupervisedProcess> processes[kMaxProcesses];
  // Theirs. Apart from them, so that one process is on one page.
  TerminalStream::Buffers terminals[kMaxProcesses];
  // Frames that the host has not taken yet: room for a long answer about each process.
  uint8_t out[128 * 1024];
};

// One thread, one epoll loop, no allocation.
class Agent {
 public:
  // All must outlive the agent.
  Agent(const Channel& channel, const KernelLog& log, AgentBuffers& buffers)
      : channel_(channel),
        log_(log),
        frames_(buffers.frame),
        decoder_(buffers.decoder),
        processes_(buffers.processes),
        terminals_(buffers.terminals),
        out_(buffers.out) {}

  // Serves the host, from the first connection until the machine is to be switched off. The
  // container is gone when this returns.
  void Run();

 private:
  // Before anything else: signals, descriptors 0 to 2, the epoll set.
  bool Initialise();
  void Loop();
  void Handle(uint64_t tag, uint32_t events);

  void OnControl(uint32_t events);
  void ReadControl();
  void OnHostMessage(std::span<const uint8_t> payload);
  // Queues a frame for the host; FlushControl() sends what the connection takes.
  void Send(const EncodedFrame& frame);
  void FlushControl();
  // Gives what is queued a last chance to reach the host.
  void DrainControl();

  void OnStartContainer();
  void OnStartProcess();
  void OnListProcesses();
  void OnGetStatistics();
  // Starts the process of decoder_.start() in a slot that is empty, and tells the host how it went.
  void Start(size_t slot, const LaunchedProcess* container);
  void SendStartFailed(const Failure& failure);

  // The process with the host's name `id`. Null: there is none.
  SupervisedProcess* Find(uint32_t id);
  // Null: it has not started or has ended.
  const LaunchedProcess* RunningContainer() const;

  bool AnyBusy() const;
  // Reaps every child that ended.
  void ReapChildren();
  // Reports the end of each process that has ended once all its output is with the host; that of
  // the container's first process after all others'.
  void ReportExits();
  void KillContainer();
  // Takes the container's disks out of use, so that they need no repair at the next start.
  void UnmountDisks();

  // Tells the host and the log, and ends the loop.
  void Fatal(std::initializer_list<std::string_view> parts);

  const Channel& channel_;
  const KernelLog& log_;
  FrameDecoder frames_;
  HostMessageDecoder& decoder_;

  Poller poller_;
  Fd signals_;
  bool done_ = false;
  bool last_words_ = false;  // Fatal is on its way to the host

  Fd control_;
  bool control_connected_ = false;
  bool welcomed_ = false;

  const std::span<std::optional<SupervisedProcess>> processes_;
  const std::span<TerminalStream::Buffers> terminals_;  // of each slot
  size_t used_ = 0;                                     // slots from here on are empty
  bool container_started_ = false;                      // or could not be
  bool end_reported_ = false;                           // of the container's first process
  bool has_disks_ = false;                              // that outlive the machine
  Inspection inspection_;

  const std::span<uint8_t> out_;
  size_t out_size_ = 0;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_AGENT_H_
