// What the files of this package share; not for others.

#ifndef VMM_EMULATED_HOST_INTERNAL_H_
#define VMM_EMULATED_HOST_INTERNAL_H_

#include <sys/socket.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "vmm/base/unique_fd.h"
#include "vmm/emulated_host/emulated_host.h"

namespace hull::emulated_host {

// Files of the instance directory.
inline constexpr char kSocketName[] = "socket";
inline constexpr char kLockName[] = "lock";
inline constexpr char kLogName[] = "log";
inline constexpr char kDataDiskName[] = "data.img";

// The arguments of the hidden verb `hull host supervise`, after "supervise", and back.
std::vector<std::string> SupervisorArguments(const Config& config, int ready_fd);

// A listening or connected stream socket at instance_dir/socket. The path goes through
// /proc/self/fd, as it may be longer than a socket's address.
enum class SocketEnd { kListen, kConnect };
absl::StatusOr<UniqueFd> OpenSocket(const Config& config, SocketEnd end);

// Locks a file by flock(2), trying until `limit` is over. kDeadlineExceeded if somebody keeps it.
absl::Status LockFile(int fd, absl::Duration limit);

// The background process: starts QEMU, relays, cleans up. Writes one byte to `ready_fd` when it
// listens, or the message of an error. Returns the exit status.
int Supervise(const Config& config, int ready_fd);

}  // namespace hull::emulated_host

#endif  // VMM_EMULATED_HOST_INTERNAL_H_
