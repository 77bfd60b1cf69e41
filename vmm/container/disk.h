// Disks that outlive a machine: sparse files with an ext4 file system in them, which only guests
// ever mount. A disk costs the host what is stored on it, not its size.

#ifndef VMM_CONTAINER_DISK_H_
#define VMM_CONTAINER_DISK_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "vmm/base/unique_fd.h"
#include "vmm/sandbox/user_range.h"

namespace hull::container {

// The disk that takes a container's writes, in its state directory.
std::string LayerPath(absl::string_view state_directory);

struct DiskMaker {
  // Directory of one empty file system for each size, which new disks are copies of; made if it is
  // missing. What is not there yet is made by mke2fs (Debian's e2fsprogs), which takes some
  // milliseconds.
  std::string templates;
  // mke2fs runs in namespaces of its own, as one of these users where this process is root.
  sandbox::UserRange users = sandbox::kDefaultUserRange;
  std::string users_lock;  // see sandbox::ClaimUser
};

// Makes the file `path`, a disk of `bytes` (whole MiB) with an empty file system, on stable storage
// but for its name. kAlreadyExists if the path exists; nothing is left behind on an error.
absl::Status MakeDisk(const DiskMaker& maker, const std::string& path, uint64_t bytes);

enum class DiskAccess {
  kReadOnly,   // shared with others that read
  kReadWrite,  // exclusive
};

// Opens a disk and locks it until the last copy of the descriptor is closed: hull-vmm, to which it
// is handed, has the same lock then. A machine that is about to end is waited for for `patience`.
// kFailedPrecondition: in use.
absl::StatusOr<UniqueFd> OpenDisk(const std::string& path, DiskAccess access,
                                  absl::Duration patience);

struct DiskUsage {
  uint64_t size_bytes = 0;
  uint64_t allocated_bytes = 0;  // what the host stores
};
absl::StatusOr<DiskUsage> LookAtDisk(const std::string& path);

}  // namespace hull::container

#endif  // VMM_CONTAINER_DISK_H_
