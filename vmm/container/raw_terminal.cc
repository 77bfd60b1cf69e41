#include "vmm/container/raw_terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/base/posix_error.h"

namespace hull::container {

absl::Status RawTerminal::Enter() {
  if (raw_) return absl::OkStatus();
  if (tcgetattr(STDIN_FILENO, &saved_) != 0) return PosixError("read the terminal's modes");
  termios raw = saved_;
  cfmakeraw(&raw);
  if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0) return PosixError("set the terminal's modes");
  raw_ = true;
  return absl::OkStatus();
}

void RawTerminal::Restore() {
  if (!raw_) return;
  raw_ = false;
  tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_);
}

TerminalSize OwnTerminalSize() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    winsize size = {};
    if (ioctl(fd, TIOCGWINSZ, &size) == 0) return {.rows = size.ws_row, .columns = size.ws_col};
  }
  return {};
}

}  // namespace hull::container
