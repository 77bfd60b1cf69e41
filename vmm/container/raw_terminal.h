// The user's terminal while it shows a container's.

#ifndef VMM_CONTAINER_RAW_TERMINAL_H_
#define VMM_CONTAINER_RAW_TERMINAL_H_

#include <termios.h>

#include "absl/status/status.h"
#include "vmm/container/config.h"

namespace hull::container {

// Raw mode for standard input: keys reach the container as they are, Ctrl-C included. The modes are
// put back on destruction. Not thread-safe.
class RawTerminal {
 public:
  RawTerminal() = default;
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() { Restore(); }

  // Remembers the modes, and changes them. From the background this stops the process, as any
  // program that wants the terminal.
  absl::Status Enter();
  void Restore();
  bool raw() const { return raw_; }

 private:
  termios saved_ = {};
  bool raw_ = false;
};

// Of the first standard stream that is a terminal; 0 by 0 if there is none.
TerminalSize OwnTerminalSize();

}  // namespace hull::container

#endif  // VMM_CONTAINER_RAW_TERMINAL_H_
