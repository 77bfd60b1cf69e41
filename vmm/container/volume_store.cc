#include "vmm/container/volume_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/limits.h"
#include "vmm/container/names.h"

namespace hull::container {
namespace {

constexpr mode_t kDirectoryMode = 0700;
constexpr mode_t kFileMode = 0600;
constexpr absl::string_view kSuffix = ".ext4";
// How long a machine may still have a disk whose monitor was killed.
constexpr absl::Duration kDyingMachine = absl::Seconds(10);

// Of the ext4 superblock, at 1024: s_feature_incompat, and that its journal is to be replayed.
constexpr off_t kFeaturesOffset = 1024 + 0x60;
constexpr uint8_t kNeedsRecovery = 0x04;

// One bit of what a guest wrote. What it says decides only how the same guest's volume is opened.
absl::StatusOr<bool> NeedsRecovery(int disk) {
  uint8_t features = 0;
  HULL_ASSIGN_OR_RETURN(const size_t n, PreadFull(disk, {&features, 1}, kFeaturesOffset));
  return n == 1 && (features & kNeedsRecovery) != 0;
}

absl::Status SyncDirectory(const std::string& path) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd directory, UniqueFd::Open(path, O_RDONLY | O_DIRECTORY));
  return fsync(directory.get()) == 0 ? absl::OkStatus()
                                     : PosixError(absl::StrCat("write \"", path, "\""));
}

absl::Status NoSuchVolume(absl::string_view name) {
  return absl::NotFoundError(absl::StrCat("no volume with name \"", name, "\" found"));
}

}  // namespace

std::string VolumePath(absl::string_view root, absl::string_view name) {
  return absl::StrCat(root, "/volumes/", name, kSuffix);
}

std::string OwnVolumePath(absl::string_view state_directory, size_t number) {
  return absl::StrCat(state_directory, "/volume-", number, kSuffix);
}

absl::StatusOr<UniqueFd> OpenVolume(const Mount& mount, const std::string& path, bool* writable) {
  *writable = !mount.read_only;
  absl::StatusOr<UniqueFd> disk = OpenDisk(
      path, mount.read_only ? DiskAccess::kReadOnly : DiskAccess::kReadWrite, kDyingMachine);
  if (disk.ok() && mount.read_only) {
    HULL_ASSIGN_OR_RETURN(*writable, NeedsRecovery(disk->get()));
    if (*writable) {
      disk->Reset();
      disk = OpenDisk(path, DiskAccess::kReadWrite, kDyingMachine);
    }
  }
  if (absl::IsFailedPrecondition(disk.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat("the volume \"", mount.volume,
                     "\" is in use by another container: one at a time can write ",
                     "to a volume; several can have it where all mount it read-only (",
                     mount.volume, ":", mount.target, ":ro)"));
  }
  if (absl::IsNotFound(disk.status()) && !mount.volume.empty()) return NoSuchVolume(mount.volume);
  return disk;
}

VolumeStore::VolumeStore(std::string root, DiskMaker maker)
    : root_(std::move(root)),
      directory_(absl::StrCat(root_, "/volumes")),
      maker_(std::move(maker)) {}

absl::StatusOr<UniqueFd> VolumeStore::Lock() const {
  // The store of the containers has made the root.
  if (mkdir(directory_.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
    return PosixError(absl::StrCat("create directory \"", directory_, "\""));
  }
  const std::string path = absl::StrCat(directory_, "/.lock");
  HULL_ASSIGN_OR_RETURN(UniqueFd lock,
                        UniqueFd::Open(path, O_RDWR | O_CREAT | O_NOFOLLOW, kFileMode));
  while (flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return PosixError(absl::StrCat("lock \"", path, "\""));
  }
  return lock;
}

absl::Status VolumeStore::CreateLocked(const std::string& name, uint64_t bytes) const {
  const std::string path = VolumePath(root_, name);
  if (access(path.c_str(), F_OK) == 0) {
    return absl::AlreadyExistsError(absl::StrCat("volume with name ", name, " already exists"));
  }
  // What an earlier one left that was killed goes.
  const std::string unfinished = absl::StrCat(directory_, "/.unfinished");
  if (unlink(unfinished.c_str()) != 0 && errno != ENOENT) {
    return PosixError(absl::StrCat("remove \"", unfinished, "\""));
  }
  HULL_RETURN_IF_ERROR(MakeDisk(maker_, unfinished, bytes));
  if (rename(unfinished.c_str(), path.c_str()) != 0) {
    return PosixError(absl::StrCat("create \"", path, "\""));
  }
  return SyncDirectory(directory_);
}

absl::Status VolumeStore::Create(const std::string& name, uint64_t bytes) const {
  HULL_ASSIGN_OR_RETURN(const UniqueFd lock, Lock());
  return CreateLocked(name, bytes);
}

absl::Status VolumeStore::CreateFor(const Config& config,
                                    const std::string& state_directory) const {
  for (size_t i = 0; i < config.mounts.size(); ++i) {
    const Mount& mount = config.mounts[i];
    if (mount.type != MountType::kVolume) continue;
    absl::Status status;
    if (mount.volume.empty()) {
      status = MakeDisk(maker_, OwnVolumePath(state_directory, i), kDefaultStorageBytes);
    } else {
      status = Create(mount.volume, kDefaultStorageBytes);
      if (absl::IsAlreadyExists(status)) status = absl::OkStatus();
    }
    HULL_RETURN_IF_ERROR(Annotate(status, "a volume cannot be made"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Volume> VolumeStore::Look(const std::string& name) const {
  if (!ValidateName(name).ok()) return NoSuchVolume(name);
  Volume volume = {.name = name, .path = VolumePath(root_, name)};
  absl::StatusOr<DiskUsage> usage = LookAtDisk(volume.path);
  if (absl::IsNotFound(usage.status())) return NoSuchVolume(name);
  if (!usage.ok()) return usage.status();
  volume.usage = *usage;
  struct statx info = {};
  if (statx(AT_FDCWD, volume.path.c_str(), 0, STATX_BTIME, &info) == 0 &&
      (info.stx_mask & STATX_BTIME) != 0) {
    volume.created_unix_ms =
        int64_t{info.stx_btime.tv_sec} * 1000 + info.stx_btime.tv_nsec / 1'000'000;
  }
  return volume;
}

absl::StatusOr<std::vector<Volume>> VolumeStore::List() const {
  std::vector<Volume> volumes;
  DIR* const directory = opendir(directory_.c_str());
  if (directory == nullptr && errno == ENOENT) return volumes;
  if (directory == nullptr) return PosixError(absl::StrCat("read \"", directory_, "\""));
  std::vector<std::string> names;
  while (const dirent* const entry = readdir(directory)) {
    absl::string_view name = entry->d_name;
    if (absl::ConsumeSuffix(&name, kSuffix) && ValidateName(name).ok()) names.emplace_back(name);
  }
  closedir(directory);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    absl::StatusOr<Volume> volume = Look(name);
    if (absl::IsNotFound(volume.status())) continue;  // just removed
    if (!volume.ok()) return volume.status();
    volumes.push_back(*std::move(volume));
  }
  return volumes;
}

absl::Status VolumeStore::Remove(const std::string& name,
                                 const std::function<absl::StatusOr<bool>()>& is_used) const {
  HULL_RETURN_IF_ERROR(Look(name).status());
  HULL_ASSIGN_OR_RETURN(const UniqueFd lock, Lock());
  HULL_ASSIGN_OR_RETURN(const bool used, is_used());
  if (used) {
    return absl::FailedPreconditionError(absl::StrCat("volume ", name, " is being used"));
  }
  if (unlink(VolumePath(root_, name).c_str()) == 0) return absl::OkStatus();
  if (errno == ENOENT) return NoSuchVolume(name);
  return PosixError(absl::StrCat("remove volume ", name));
}

}  // namespace hull::container
