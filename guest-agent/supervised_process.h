// One process that the host asked for: its streams, and its end.

#ifndef GUEST_AGENT_SUPERVISED_PROCESS_H_
#define GUEST_AGENT_SUPERVISED_PROCESS_H_

#include <sys/types.h>

#include <cstdint>

#include "guest-agent/channel.h"
#include "guest-agent/failure.h"
#include "guest-agent/fd.h"
#include "guest-agent/launch.h"
#include "guest-agent/messages.h"
#include "guest-agent/poller.h"
#include "guest-agent/start_request.h"
#include "guest-agent/stream.h"
#include "guest-agent/terminal.h"

namespace hull::agent {

// Belongs to the agent's thread. Begins with Start(); is over when exited() and output_done(), and
// its owner has told the host.
class SupervisedProcess {
 public:
  // What an event is about. A tag for the poller is `tag_base` plus one of these.
  enum Source : uint64_t {
    kStdioConnection,
    kErrorConnection,
    kOutputPipe,
    kErrorPipe,
    kInputPipe,
    kTerminal,
    kSources,
  };

  // `buffers`, for its terminal if it has one, must outlive it.
  explicit SupervisedProcess(TerminalStream::Buffers* buffers) : terminal_(buffers) {}

  // Opens the streams and starts the process: the container's first, or one in `container`. On
  // failure nothing of it is left but its id().
  bool Start(StartRequest* request, const LaunchedProcess* container, const Channel& channel,
             const Poller& poller, uint64_t tag_base, Failure* failure);

  // An event of the poller. False: the host did not take one of the connections.
  bool Handle(Source source, uint32_t events, Failure* failure);

  // Moves what can be moved. busy(): there is more.
  void RunStreams();
  bool busy() const { return output_ready_ || error_ready_ || input_ready_; }

  // It has been reaped. `alone`: no other process can hold its output, so that this has an end of
  // its own.
  void OnExit(int wait_status, bool alone);
  // Gives up what the host has not taken by now.
  void StopStreams();

  void Signal(int number) const;
  void Resize(WindowSize size) const { terminal_.Resize(size); }

  uint32_t id() const { return id_; }
  const LaunchedProcess& process() const { return process_; }
  bool running() const { return running_; }
  bool exited() const { return exited_; }
  int wait_status() const { return wait_status_; }
  // All output is with the host, or never will be.
  bool output_done() const {
    return output_stream_.done() && error_stream_.done() && terminal_.done();
  }

 private:
  // A connection that carries standard output and input, or standard error.
  struct Connection {
    Fd fd;
    bool connected = false;
  };
  // Where the process's ends of its streams live until it has them.
  struct ChildEnds {
    Fd in;
    Fd out;
    Fd error;
    Fd terminal_socket;
  };

  // Each adds to what the process gets.
  bool Connect(const StartRequest& request, const Channel& channel, const Poller& poller,
               uint64_t tag_base, Failure* failure);
  bool OpenPipes(const StartRequest& request, const Poller& poller, uint64_t tag_base,
                 ChildEnds* child, Failure* failure);
  bool TakeTerminal(int socket, const Poller& poller, uint64_t tag_base, Failure* failure);
  bool OnConnection(Connection* connection, StreamKind kind, Failure* failure);

  uint32_t id_ = 0;
  uint64_t stream_token_ = 0;
  LaunchedProcess process_;
  bool running_ = false;
  bool exited_ = false;
  int wait_status_ = 0;

  Connection stdio_;
  Connection error_;
  OutputStream output_stream_;
  OutputStream error_stream_;
  InputStream input_stream_;
  TerminalStream terminal_;
  // Which streams may be able to move something. A terminal is output_ready_.
  bool output_ready_ = false;
  bool error_ready_ = false;
  bool input_ready_ = false;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_SUPERVISED_PROCESS_H_
