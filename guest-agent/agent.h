// The agent: talks to the host, supervises the container, and ends when the machine is to end.

#ifndef GUEST_AGENT_AGENT_H_
#define GUEST_AGENT_AGENT_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "guest-agent/channel.h"
#include "guest-agent/failure.h"
#include "guest-agent/fd.h"
#include "guest-agent/kernel_log.h"
#include "guest-agent/launch.h"
#include "guest-agent/messages.h"
#include "guest-agent/protocol/framing.h"
#include "guest-agent/stream.h"

namespace hull::agent {

// The large part of an agent's state, mostly never touched: to be made static, where it is all zero
// and takes no space in the program's file.
struct AgentBuffers {
  uint8_t frame[kMaxHostMessageBytes];
  HostMessageDecoder decoder;
};

// One thread, one epoll loop, no allocation.
class Agent {
 public:
  // All must outlive the agent.
  Agent(const Channel& channel, const KernelLog& log, AgentBuffers& buffers)
      : channel_(channel), log_(log), frames_(buffers.frame), decoder_(buffers.decoder) {}

  // Serves the host, from the first connection until the machine is to be switched off. The
  // container is gone when this returns.
  void Run();

 private:
  // A connection that carries a process's standard output and input, or its standard error.
  struct StreamConnection {
    Fd fd;
    bool connected = false;
  };

  // Before anything else: signals, descriptors 0 to 2, the epoll set.
  bool Initialise();
  void Loop();
  void Handle(uint64_t source, uint32_t events);

  void OnControl(uint32_t events);
  void ReadControl();
  void OnHostMessage(std::span<const uint8_t> payload);
  // Queues a frame for the host; FlushControl() sends what the connection takes.
  void Send(const EncodedFrame& frame);
  void FlushControl();
  // Gives what is queued a last chance to reach the host.
  void DrainControl();

  void OnStartContainer();
  bool StartContainer(StartRequest* request, Failure* failure);
  bool OpenStreams(const StartRequest& request, ChildStreams* child, Fd (&child_fds)[3],
                   Failure* failure);

  void OnStreamConnection(StreamConnection* connection, StreamKind kind);
  void RunStreams();
  // Reaps every child that ended.
  void OnChildEnded();
  // Reports the end of the container's process once all its output is with the host.
  void ReportExit();
  void KillContainer();

  // Tells the host and the log, and ends the loop.
  void Fatal(std::initializer_list<std::string_view> parts);

  bool Watch(int fd, uint64_t source);

  const Channel& channel_;
  const KernelLog& log_;
  FrameDecoder frames_;
  HostMessageDecoder& decoder_;

  Fd epoll_;
  Fd signals_;
  bool done_ = false;
  bool last_words_ = false;  // Fatal is on its way to the host

  Fd control_;
  bool control_connected_ = false;
  bool welcomed_ = false;
  uint8_t out_[8192];
  size_t out_size_ = 0;

  // The container's process: 0 before StartContainer.
  uint32_t process_id_ = 0;
  uint64_t stream_token_ = 0;
  LaunchedProcess process_;
  bool running_ = false;
  bool exit_pending_ = false;  // it has ended and the host does not know yet
  int wait_status_ = 0;

  StreamConnection stdio_;
  StreamConnection error_;
  OutputStream output_stream_;
  OutputStream error_stream_;
  InputStream input_stream_;
  // Which streams may be able to move something.
  bool output_ready_ = false;
  bool error_ready_ = false;
  bool input_ready_ = false;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_AGENT_H_
