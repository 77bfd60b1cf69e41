// What is mounted into a container beside its root: the values of --volume, --mount and --tmpfs.

#ifndef VMM_CONTAINER_MOUNTS_H_
#define VMM_CONTAINER_MOUNTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::container {

// Volumes of one container: with its root and its writable layer they are the disks of its machine.
inline constexpr size_t kMaxVolumes = 15;
// Volumes and others together.
inline constexpr size_t kMaxMounts = 32;

enum class MountType {
  kVolume,  // a disk of its own
  kTmpfs,   // in the guest's memory
};

struct Mount {
  MountType type = MountType::kVolume;
  std::string volume = {};  // name of the volume; empty: the container's own, which goes with it
  std::string target = {};  // absolute, without empty, "." and ".." parts; not /
  bool read_only = false;
  bool allow_exec = true;
  bool allow_suid = false;
  bool allow_devices = false;
  // A new volume, and a tmpfs, begin with what the image has at the target.
  bool copy_image = true;
  uint64_t tmpfs_bytes = 0;     // 0: half of the guest's memory
  uint32_t tmpfs_mode = 01777;  // of its directory, unless it is copied

  friend bool operator==(const Mount&, const Mount&) = default;
};

// The value of -v: [NAME:]/TARGET[:OPTION,...], with the options ro, rw, copy, nocopy, exec,
// noexec, suid, nosuid, dev, nodev, and z and Z, which mean nothing here. kInvalidArgument for
// anything else; kUnimplemented for a directory of the host's.
absl::StatusOr<Mount> ParseVolumeFlag(absl::string_view text);

// The value of --tmpfs: /TARGET[:OPTION,...] with those and size=SIZE, mode=OCTAL, tmpcopyup,
// notmpcopyup. Without options noexec, nosuid, nodev.
absl::StatusOr<Mount> ParseTmpfsFlag(absl::string_view text);

// The value of --mount: type=volume|tmpfs, source|src=NAME, destination|dst|target=/TARGET,
// readonly|ro[=true|false], tmpfs-size=SIZE, tmpfs-mode=OCTAL, tmpcopyup, notmpcopyup, separated by
// commas. The type is volume unless given.
absl::StatusOr<Mount> ParseMountFlag(absl::string_view text);

// A container's name would do (ValidateName).
absl::Status ValidateVolumeName(absl::string_view name);

// Whether these can be one container's: not too many, no target twice, no volume twice.
absl::Status ValidateMounts(const std::vector<Mount>& mounts);

}  // namespace hull::container

#endif  // VMM_CONTAINER_MOUNTS_H_
