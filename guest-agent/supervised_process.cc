#include "guest-agent/supervised_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace hull::agent {
namespace {

constexpr uint32_t kBroken = EPOLLHUP | EPOLLERR;

// A pipe whose end in the agent does not block. `agent_end` is 0 for the reader, 1 for the writer.
bool MakePipe(int agent_end, Fd* agent, Fd* child) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  *agent = Fd(ends[agent_end]);
  *child = Fd(ends[1 - agent_end]);
  return fcntl(agent->get(), F_SETFL, O_NONBLOCK) == 0;
}

bool OpenNull(int flags, Fd* fd, Failure* failure) {
  *fd = Fd(open("/dev/null", flags | O_CLOEXEC));
  return fd->valid() || Fail(failure, StartFailure::kInternal, errno, {"cannot open /dev/null"});
}

}  // namespace

bool SupervisedProcess::Start(StartRequest* request, const LaunchedProcess* container,
                              const Channel& channel, const Poller& poller, uint64_t tag_base,
                              Failure* failure) {
  id_ = request->process_id;
  stream_token_ = request->stream_token;
  ChildEnds child;
  Fd terminal;
  // The connections are made while the process is.
  bool ok = Connect(*request, channel, poller, tag_base, failure);
  if (ok && request->has_terminal) {
    int sockets[2];
    ok = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0;
    if (ok) {
      terminal = Fd(sockets[0]);
      child.terminal_socket = Fd(sockets[1]);
    } else {
      Fail(failure, StartFailure::kInternal, errno, {"cannot make a socket"});
    }
  } else if (ok) {
    ok = OpenPipes(*request, poller, tag_base, &child, failure);
  }
  ok = ok &&
       Launch(request,
              {child.in.get(), child.out.get(), child.error.get(), child.terminal_socket.get()},
              container, &process_, failure);
  if (ok) {
    running_ = true;
    ok = !request->has_terminal || TakeTerminal(terminal.get(), poller, tag_base, failure);
    if (!ok) Signal(SIGKILL);
  }
  if (ok) return true;
  // Nothing will come through them.
  StopStreams();
  return false;
}

bool SupervisedProcess::Connect(const StartRequest& request, const Channel& channel,
                                const Poller& poller, uint64_t tag_base, Failure* failure) {
  if (request.discard_output) return true;
  stdio_.fd = channel.Connect();
  bool ok = stdio_.fd.valid() && poller.Add(stdio_.fd.get(), tag_base + kStdioConnection);
  if (ok && !request.has_terminal) {
    error_.fd = channel.Connect();
    ok = error_.fd.valid() && poller.Add(error_.fd.get(), tag_base + kErrorConnection);
  }
  return ok || Fail(failure, StartFailure::kInternal, errno,
                    {"cannot connect the standard streams to the host"});
}

bool SupervisedProcess::OpenPipes(const StartRequest& request, const Poller& poller,
                                  uint64_t tag_base, ChildEnds* child, Failure* failure) {
  if (request.discard_output) {
    return OpenNull(O_RDONLY, &child->in, failure) && OpenNull(O_WRONLY, &child->out, failure) &&
           OpenNull(O_WRONLY, &child->error, failure);
  }
  Fd output, error, input;
  if (!MakePipe(0, &output, &child->out) || !MakePipe(0, &error, &child->error) ||
      !poller.Add(output.get(), tag_base + kOutputPipe) ||
      !poller.Add(error.get(), tag_base + kErrorPipe)) {
    return Fail(failure, StartFailure::kInternal, errno, {"cannot make the standard streams"});
  }
  output_stream_ = OutputStream(std::move(output), stdio_.fd.get());
  error_stream_ = OutputStream(std::move(error), error_.fd.get());
  if (!request.attach_stdin) return OpenNull(O_RDONLY, &child->in, failure);
  if (!MakePipe(1, &input, &child->in) || !poller.Add(input.get(), tag_base + kInputPipe)) {
    return Fail(failure, StartFailure::kInternal, errno, {"cannot make the standard input"});
  }
  input_stream_ = InputStream(stdio_.fd.get(), std::move(input));
  return true;
}

bool SupervisedProcess::TakeTerminal(int socket, const Poller& poller, uint64_t tag_base,
                                     Failure* failure) {
  Fd master = ReceiveDescriptor(socket);
  if (!master.valid() || !poller.Add(master.get(), tag_base + kTerminal)) {
    return Fail(failure, StartFailure::kInternal, errno, {"cannot take over the terminal"});
  }
  terminal_.Open(std::move(master), stdio_.fd.get());
  return true;
}

bool SupervisedProcess::Handle(Source source, uint32_t events, Failure* failure) {
  switch (source) {
    case kStdioConnection:
      if (!OnConnection(&stdio_, StreamKind::kStdio, failure)) return false;
      if ((events & kBroken) != 0) {
        output_stream_.Stop();
        terminal_.HangUp();
      }
      output_ready_ = input_ready_ = true;
      break;
    case kErrorConnection:
      if (!OnConnection(&error_, StreamKind::kStandardError, failure)) return false;
      if ((events & kBroken) != 0) error_stream_.Stop();
      error_ready_ = true;
      break;
    case kOutputPipe:
    case kTerminal:
      output_ready_ = true;
      break;
    case kErrorPipe:
      error_ready_ = true;
      break;
    case kInputPipe:
      input_ready_ = true;
      break;
    case kSources:
      break;
  }
  return true;
}

bool SupervisedProcess::OnConnection(Connection* connection, StreamKind kind, Failure* failure) {
  if (connection->connected || !connection->fd.valid()) return true;
  if (const int error = Channel::ConnectError(connection->fd.get()); error != 0) {
    return Fail(failure, StartFailure::kInternal, error,
                {"the host did not accept a stream connection"});
  }
  const EncodedFrame hello = EncodedFrame::StreamHello(kind, id_, stream_token_);
  // A new connection has room for it.
  const ssize_t n = write(connection->fd.get(), hello.bytes().data(), hello.bytes().size());
  if (n != static_cast<ssize_t>(hello.bytes().size())) {
    return Fail(failure, StartFailure::kInternal, 0,
                {"the host did not take the first frame of a stream connection"});
  }
  connection->connected = true;
  return true;
}

void SupervisedProcess::RunStreams() {
  const bool stdio = stdio_.connected;
  if (output_ready_ && !terminal_.done()) {
    // One whose output is dropped has no connection to wait for.
    output_ready_ = (stdio || !stdio_.fd.valid()) && terminal_.Run() == Turn::kAgain;
  } else if (output_ready_) {
    output_ready_ = stdio && output_stream_.Run() == Turn::kAgain;
  }
  if (error_ready_) error_ready_ = error_.connected && error_stream_.Run() == Turn::kAgain;
  if (input_ready_) input_ready_ = stdio && input_stream_.Run() == Turn::kAgain;
}

void SupervisedProcess::OnExit(int wait_status, bool alone) {
  running_ = false;
  exited_ = true;
  wait_status_ = wait_status;
  input_stream_.Stop();
  terminal_.OnProcessEnd();
  if (!alone) {
    output_stream_.EndAfterPresent();
    error_stream_.EndAfterPresent();
  }
  output_ready_ = error_ready_ = true;
}

void SupervisedProcess::StopStreams() {
  output_stream_.Stop();
  error_stream_.Stop();
  input_stream_.Stop();
  terminal_.HangUp();
  stdio_ = Connection();
  error_ = Connection();
}

void SupervisedProcess::Signal(int number) const {
  // A process that has ended, or never started, has no pidfd to send to: no harm.
  if (running_) syscall(SYS_pidfd_send_signal, process_.pidfd.get(), number, nullptr, 0);
}

}  // namespace hull::agent
