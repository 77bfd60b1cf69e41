// The sandbox of a container's monitor, which speaks to its guest's agent: entered once its VMM
// runs, and everything that needs more is done. That of a display's server is a narrower one.

#ifndef VMM_SANDBOX_MONITOR_SANDBOX_H_
#define VMM_SANDBOX_MONITOR_SANDBOX_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace hull::sandbox {

// Paths of directories. One that is not there is passed over.
struct MonitorSandbox {
  std::vector<std::string> own = {};  // everything in them may be read, made, written, removed
  std::vector<std::string> parents =
      {};  // directories in them may be made, renamed, removed if empty
  std::vector<std::string> links = {};  // files in them may be removed
};

// Takes the calling process, which has one thread, into the sandbox for ever. In this order, each
// step read back from the kernel where it can be read:
//
//   1. no core dump, and at most 1 GiB of address space
//   2. no_new_privs
//   3. nothing in the file system but the above may be used (Landlock, where the kernel has it)
//   4. no capability but, for root, those to kill a VMM of another user (which it can only by a
//      descriptor, as that is how the list has it) and to pass through another user's directories
//   5. not dumpable
//   6. the list of system calls "monitor"
absl::Status ConfineMonitor(const MonitorSandbox& sandbox);

// All but the last step.
absl::Status RestrictMonitor(const MonitorSandbox& sandbox);

// Takes hull-display, which has one thread and all the descriptors that it needs, into its own for
// ever: likewise, but nothing in the file system may be used, no capability is left, and the list
// is "display".
absl::Status ConfineDisplay();

// All but the last step.
absl::Status RestrictDisplay();

}  // namespace hull::sandbox

#endif  // VMM_SANDBOX_MONITOR_SANDBOX_H_
