// Moves bytes between a process's pipe and its connection to the host.

#ifndef GUEST_AGENT_STREAM_H_
#define GUEST_AGENT_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "guest-agent/fd.h"

namespace hull::agent {

// What became of a stream in one turn.
enum class Turn {
  kWait,   // until the kernel reports a change on one of its descriptors
  kAgain,  // there is more to do, but others should have their turn
  kDone,   // for good: at its end, or one side is gone
};

// Process to host: standard output or standard error. Bytes go by splice(2), so the pipe is the
// only buffer, and a host that does not read stops the process as a full pipe does. Both
// descriptors must be non-blocking and edge-triggered in the caller's epoll set.
class OutputStream {
 public:
  OutputStream() = default;
  // Reads from `pipe`, which it owns; `connection` stays the caller's.
  OutputStream(Fd pipe, int connection) : pipe_(std::move(pipe)), connection_(connection) {}

  // At the pipe's end the connection is half-closed. If the host is gone the pipe is closed, so
  // that the writer gets SIGPIPE.
  Turn Run();

  // What is in the pipe now is the last that is passed on, whoever else may write to it.
  void EndAfterPresent();

  // The host is gone.
  void Stop() { pipe_.Reset(); }

  bool done() const { return !pipe_.valid(); }

 private:
  Fd pipe_;
  int connection_ = -1;
  size_t limit_ = SIZE_MAX;  // of the bytes that are still to be passed on
};

// Host to process: standard input. As above.
class InputStream {
 public:
  InputStream() = default;
  // Writes to `pipe`, which it owns.
  InputStream(int connection, Fd pipe) : connection_(connection), pipe_(std::move(pipe)) {}

  // At the host's end of file the pipe is closed. If the process has closed its end, the host is
  // told by a half-close.
  Turn Run();

  // The process is gone.
  void Stop() { pipe_.Reset(); }

  bool done() const { return !pipe_.valid(); }

 private:
  int connection_ = -1;
  Fd pipe_;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_STREAM_H_
