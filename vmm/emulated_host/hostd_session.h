// One command inside the emulated host: its process, pipes or pty, and streams.

#ifndef VMM_EMULATED_HOST_HOSTD_SESSION_H_
#define VMM_EMULATED_HOST_HOSTD_SESSION_H_

#include <poll.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "vmm/base/unique_fd.h"
#include "vmm/emulated_host/frame_channel.h"
#include "vmm/emulated_host/hostd_prefix_cache.h"
#include "vmm/emulated_host/protocol.h"

namespace hull::emulated_host {

// Used by one thread. Frames go to the channel that every session shares.
class HostdSession {
 public:
  // Forks. An error (no pty, no process) is the session's end; report it by kRefused.
  static absl::StatusOr<std::unique_ptr<HostdSession>> Start(uint32_t id,
                                                             const OpenRequest& request,
                                                             const PrefixCache& prefix_cache);

  uint32_t id() const { return id_; }
  pid_t pid() const { return pid_; }

  // A frame of this session. An error is a peer that breaks the protocol.
  absl::Status OnFrame(const Frame& frame, FrameChannel& channel);
  // The process was reaped with this waitpid status.
  void OnReaped(int wait_status);

  // Appends what this session waits for. `may_send`: the channel has room.
  void AddPollFds(bool may_send, std::vector<pollfd>& fds) const;
  // Moves bytes, as far as possible without blocking. Call after every poll.
  void Pump(bool may_send, FrameChannel& channel);

  // When to call Expire(), on the clock of MonotonicNow(); InfiniteDuration for never.
  absl::Duration deadline() const { return kill_at_; }
  // The grace period after kClose is over.
  void Expire();

  // The process is gone, everything it wrote was sent, and so was kExit: forget the session.
  bool finished() const { return finished_; }

 private:
  HostdSession(uint32_t id, bool forward_stdin) : id_(id), forward_stdin_(forward_stdin) {}

  void Close();
  void PumpStdin(FrameChannel& channel);
  void PumpOutput(Stream stream, bool may_send, FrameChannel& channel);
  void PumpStartReport(FrameChannel& channel);
  uint64_t StdinConsumed() const;
  // Where the bytes of an output come from; null when it shares the pty with the other one.
  UniqueFd* SourceOf(Stream stream);
  void Kill(int signal, bool group);

  const uint32_t id_;
  const bool forward_stdin_;
  pid_t pid_ = -1;
  // Reads a Refusal from the child, or the end of file when exec succeeded.
  UniqueFd start_report_;
  // The pty's master, or empty.
  UniqueFd terminal_;
  // Pipes of the streams that are not the terminal. [0] is the writing end of standard input.
  std::array<UniqueFd, 3> pipes_;
  // A reading end of standard input's pipe, from the moment when the writing end is closed: tells
  // how much the process left unread.
  UniqueFd stdin_rest_;
  uint8_t terminal_streams_ = 0;
  IncomingStream stdin_;
  std::array<OutgoingStream, 3> outputs_;  // [0] unused
  bool closing_ = false;
  bool refused_ = false;
  bool reaped_ = false;
  int wait_status_ = 0;
  bool finished_ = false;
  absl::Duration kill_at_ = absl::InfiniteDuration();
};

}  // namespace hull::emulated_host

#endif  // VMM_EMULATED_HOST_HOSTD_SESSION_H_
