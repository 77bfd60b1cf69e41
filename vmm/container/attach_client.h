// The command line's side of a container that runs: passes standard streams and signals.

#ifndef VMM_CONTAINER_ATTACH_CLIENT_H_
#define VMM_CONTAINER_ATTACH_CLIENT_H_

#include <signal.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/detach_keys.h"
#include "vmm/container/outcome.h"

namespace hull::container {

// The signals that a client passes to its container: all that can be caught, but those that are
// about the client itself (faults, job control, children, SIGPIPE, the window's size). Block them
// before the container exists, so that none is lost between its creation and AttachAndWait.
sigset_t ForwardedSignals();

struct AttachOptions {
  bool attach_stdin = false;  // pass standard input on
  // Ask for the output first: for a socket of ConnectToMonitor().
  bool ask_for_output = false;
  bool forward_signals = true;  // if not, signals have their usual effect on this process
  // The process has a terminal: this one's, if standard input is a terminal and passed on, is in
  // raw mode meanwhile, its size is the process's, and these keys detach.
  bool terminal = false;
  DetachKeys detach_keys = {};
  // The container is a pc machine, and this terminal its screen and keyboard; its name. Needs
  // `terminal` and `attach_stdin`.
  std::string pc_name = {};
  std::string detach_hint = {};  // the detach keys as a person calls them
  // A further process to start and to be connected with (exec_request.h); empty: the container's.
  std::string exec_request = {};
};

// Connects `socket`, to the monitor, with descriptors 0, 1 and 2 of this process until the
// container has ended. ForwardedSignals() must be blocked, if they are forwarded, and SIGPIPE
// ignored. Nothing if the monitor went away without telling the outcome; an error if this process's
// own output failed or the monitor broke the protocol.
//
// Descriptors 0, 1 and 2 keep their flags: they are shared with whoever started this process.
absl::StatusOr<std::optional<Outcome>> AttachAndWait(UniqueFd socket, const AttachOptions& options);

}  // namespace hull::container

#endif  // VMM_CONTAINER_ATTACH_CLIENT_H_
