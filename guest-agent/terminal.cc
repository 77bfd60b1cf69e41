#include "guest-agent/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "guest-agent/text.h"

namespace hull::agent {
namespace {

// As in stream.cc: buffers in one turn.
constexpr int kMovesPerTurn = 64;
// More than the kernel holds of a terminal's output (8 KiB of flip buffers, 4 KiB of the line
// discipline).
constexpr size_t kMaxDrained = 64 * 1024;

bool SetSize(int terminal, WindowSize size) {
  winsize window = {};
  window.ws_row = size.rows;
  window.ws_col = size.columns;
  return ioctl(terminal, TIOCSWINSZ, &window) == 0;
}

bool SendDescriptor(int socket, int fd) {
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  return sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
}

// As podman has it: a file over which the terminal is mounted.
bool MakeConsole(int master, Failure* failure) {
  unsigned number = 0;
  FixedText<32> path;
  constexpr char kConsole[] = "/dev/console";
  const Fd file(open(kConsole, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600));
  if (file.valid() && ioctl(master, TIOCGPTN, &number) == 0) {
    path.Assign({"/dev/pts/", Decimal(number)});
    if (mount(path.c_str(), kConsole, nullptr, MS_BIND, nullptr) == 0) return true;
  }
  return Fail(failure, StartFailure::kInternal, errno, {"cannot make ", kConsole});
}

}  // namespace

bool OpenTerminal(WindowSize size, bool console, int socket, Fd* terminal, Failure* failure) {
  const auto fail = [failure] {
    return Fail(failure, StartFailure::kInternal, errno, {"cannot make a terminal"});
  };
  // What else may be there is the container's doing: it must not stop the start, and the calls
  // below refuse it.
  constexpr int kFlags = O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW;
  const Fd master(open("/dev/pts/ptmx", kFlags));
  const int unlocked = 0;
  if (!master.valid() || ioctl(master.get(), TIOCSPTLCK, &unlocked) != 0) return fail();
  // By the master, not by a path.
  *terminal = Fd(ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal->valid() || !SetSize(terminal->get(), size) ||
      ioctl(terminal->get(), TIOCSCTTY, 0) != 0) {
    return fail();
  }
  if (console && !MakeConsole(master.get(), failure)) return false;
  return SendDescriptor(socket, master.get()) || fail();
}

Fd ReceiveDescriptor(int socket) {
  char byte;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != 1) return Fd();
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return Fd();
  int fd;
  std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
  return Fd(fd);
}

Turn TerminalStream::Run() {
  if (done()) return Turn::kDone;
  bool again = false;
  if (!Show(&again) || !Type(&again)) return Turn::kDone;
  return again ? Turn::kAgain : Turn::kWait;
}

bool TerminalStream::Show(bool* again) {
  for (int i = 0; i < kMovesPerTurn; ++i) {
    if (shown_start_ == shown_end_) {
      const ssize_t n = drained_ < kMaxDrained
                            ? read(master_.get(), buffers_->shown, sizeof(buffers_->shown))
                            : ssize_t{0};
      if (n < 0 && errno == EINTR) continue;
      // EIO: nobody has the terminal open; while the process lives, somebody may open it again.
      // EAGAIN comes only after all that was written before: see n_tty_read() in the kernel.
      if (n <= 0) {
        if (!draining_) return true;
        Finish();
        return false;
      }
      shown_start_ = 0;
      shown_end_ = static_cast<size_t>(n);
      if (draining_) drained_ += static_cast<size_t>(n);
    }
    if (connection_ < 0) {
      shown_start_ = shown_end_;
      continue;
    }
    const ssize_t n = write(connection_, buffers_->shown + shown_start_, shown_end_ - shown_start_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return true;
    if (n < 0) {
      HangUp();
      return false;
    }
    shown_start_ += static_cast<size_t>(n);
  }
  *again = true;
  return true;
}

bool TerminalStream::Type(bool* again) {
  for (int i = 0; i < kMovesPerTurn; ++i) {
    if (typed_start_ == typed_end_) {
      if (input_ended_ || connection_ < 0) return true;
      const ssize_t n = read(connection_, buffers_->typed, sizeof(buffers_->typed));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return true;
      // A host that only types no more still reads; one that is gone breaks this call.
      if (n < 0 || (n == 0 && send(connection_, nullptr, 0, MSG_NOSIGNAL) < 0)) {
        HangUp();
        return false;
      }
      input_ended_ = n == 0;
      if (input_ended_) return true;
      typed_start_ = 0;
      typed_end_ = static_cast<size_t>(n);
    }
    const ssize_t n =
        write(master_.get(), buffers_->typed + typed_start_, typed_end_ - typed_start_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return true;
    // EIO: nobody has the terminal open to whom this could matter.
    typed_start_ = n < 0 ? typed_end_ : typed_start_ + static_cast<size_t>(n);
  }
  *again = true;
  return true;
}

void TerminalStream::Finish() {
  if (connection_ >= 0) shutdown(connection_, SHUT_WR);
  HangUp();
}

void TerminalStream::Resize(WindowSize size) const {
  // On the master: the kernel tells the terminal's foreground processes with SIGWINCH.
  if (!done()) SetSize(master_.get(), size);
}

}  // namespace hull::agent
