// A process's terminal: made by the process from the container's own devpts, and served by the
// agent.

#ifndef GUEST_AGENT_TERMINAL_H_
#define GUEST_AGENT_TERMINAL_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "guest-agent/failure.h"
#include "guest-agent/fd.h"
#include "guest-agent/start_request.h"
#include "guest-agent/stream.h"

namespace hull::agent {

// For the process that will have it, in the container's root and in a session of its own. Makes a
// terminal, makes it the controlling one, and sends its master over `socket` (ReceiveDescriptor()
// at the other end). `console`: the terminal is /dev/console, too. `*terminal` is the process's
// side.
bool OpenTerminal(WindowSize size, bool console, int socket, Fd* terminal, Failure* failure);

// One descriptor that was sent over a Unix socket; invalid if there is none.
Fd ReceiveDescriptor(int socket);

// Carries bytes between a terminal's master and the connection to the host, both ways. The kernel
// cannot splice between these two, so each direction has a buffer; it moves no more than it has, so
// a host that does not read stops the process.
class TerminalStream {
 public:
  struct Buffers {
    char shown[4096];
    char typed[4096];
  };

  // Touches `buffers`, which must outlive it, only when there is something to carry.
  explicit TerminalStream(Buffers* buffers) : buffers_(buffers) {}

  // `master`, which it owns, must not block and be edge-triggered in the caller's epoll set, as
  // must `connection`, which stays the caller's. `connection` -1: what the process shows is
  // dropped.
  void Open(Fd master, int connection) {
    master_ = std::move(master);
    connection_ = connection;
  }

  Turn Run();

  // The process has ended: what it has written is still passed on, then the terminal is hung up.
  void OnProcessEnd() { draining_ = true; }

  // Closes the master: the kernel sends SIGHUP to the terminal's session.
  void HangUp() { master_.Reset(); }

  void Resize(WindowSize size) const;

  bool done() const { return !master_.valid(); }

 private:
  // From process to host, and from host to process. False: everything is over.
  bool Show(bool* again);
  bool Type(bool* again);
  void Finish();

  Fd master_;
  int connection_ = -1;
  bool draining_ = false;
  bool input_ended_ = false;
  // Bytes of a process that has ended; what others write to its terminal has no end.
  size_t drained_ = 0;

  Buffers* const buffers_;
  size_t shown_start_ = 0;
  size_t shown_end_ = 0;
  size_t typed_start_ = 0;
  size_t typed_end_ = 0;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_TERMINAL_H_
