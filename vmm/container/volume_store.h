// Named volumes: each a disk (disk.h) of its own, `<root>/volumes/<name>.ext4`.

#ifndef VMM_CONTAINER_VOLUME_STORE_H_
#define VMM_CONTAINER_VOLUME_STORE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/config.h"
#include "vmm/container/disk.h"
#include "vmm/container/mounts.h"

namespace hull::container {

struct Volume {
  std::string name;
  std::string path;
  int64_t created_unix_ms = 0;  // 0: the file system does not know
  DiskUsage usage = {};
};

// Where a mount's disk is: a named volume, or one of the container's own, in its state directory.
std::string VolumePath(absl::string_view root, absl::string_view name);
std::string OwnVolumePath(absl::string_view state_directory, size_t number);

// Opens the disk of a mount as OpenDisk does, with errors that speak of volumes. `*writable` says
// whether the descriptor is: also that of a read-only mount whose file system was not unmounted by
// whoever wrote to it, as the guest's kernel then has to replay its journal. It is not shared then.
absl::StatusOr<UniqueFd> OpenVolume(const Mount& mount, const std::string& path, bool* writable);

// Not thread-safe; any number of processes may use the same directory at once.
class VolumeStore {
 public:
  VolumeStore(std::string root, DiskMaker maker);

  // kAlreadyExists.
  absl::Status Create(const std::string& name, uint64_t bytes) const;
  // Makes the volumes of `config`, which is in the containers' store, that do not exist.
  absl::Status CreateFor(const Config& config, const std::string& state_directory) const;

  absl::StatusOr<Volume> Look(const std::string& name) const;  // kNotFound
  absl::StatusOr<std::vector<Volume>> List() const;            // by name

  // `is_used` says whether a container has it, now that none can be given it. kFailedPrecondition:
  // so it is. kNotFound.
  absl::Status Remove(const std::string& name,
                      const std::function<absl::StatusOr<bool>()>& is_used) const;

 private:
  absl::StatusOr<UniqueFd> Lock() const;
  absl::Status CreateLocked(const std::string& name, uint64_t bytes) const;

  const std::string root_;
  const std::string directory_;
  const DiskMaker maker_;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_VOLUME_STORE_H_
