#include "guest-agent/container_root.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "guest-agent/command.h"
#include "guest-agent/copy_tree.h"
#include "guest-agent/fd.h"
#include "guest-agent/text.h"

namespace hull::agent {
namespace {

// Directories of the initramfs (see BUILD.bazel).
constexpr char kDevices[] = "/dev";
constexpr char kImage[] = "/image";        // the read-only root filesystem
constexpr char kWritable[] = "/writable";  // what takes the container's writes
constexpr char kUpper[] = "/writable/upper";
constexpr char kNewUpper[] = "/writable/upper.new";
constexpr char kWork[] = "/writable/work";
constexpr char kRoot[] = "/root";  // both together
// What mke2fs makes in every file system.
constexpr char kMadeByMaker[] = "lost+found";

bool Internal(Failure* failure, int error, std::initializer_list<std::string_view> parts) {
  return Fail(failure, StartFailure::kInternal, error, parts);
}

bool Mount(const char* source, const char* target, const char* type, unsigned long flags,
           const char* options, Failure* failure) {
  if (mount(source, target, type, flags, options) == 0) return true;
  return Internal(failure, errno, {"cannot mount ", type, " on ", target});
}

// The root of the overlay is the upper directory itself: give it what the image's root has.
bool CopyRootAttributes(const char* upper, Failure* failure) {
  struct stat image;
  if (stat(kImage, &image) != 0 || chown(upper, image.st_uid, image.st_gid) != 0 ||
      chmod(upper, image.st_mode & 07777) != 0) {
    return Internal(failure, errno, {"cannot give the root directory its owner and mode"});
  }
  return true;
}

// What takes the container's writes, on kWritable.
bool MountLayer(const RootRequest& root, Failure* failure) {
  if (root.layer_device == nullptr) {
    FixedText<64> size;
    size.Assign({"mode=0755"});
    if (root.tmpfs_bytes != 0) {
      size.Append(",size=");
      size.Append(Decimal(root.tmpfs_bytes));
    }
    return Mount("tmpfs", kWritable, "tmpfs", 0, size.c_str(), failure);
  }
  // With "discard" the host gets back what was deleted. The journal's barriers are on by default,
  // and the kernel replays the journal of a disk that was not unmounted.
  if (mount(root.layer_device, kWritable, root.layer_filesystem_type, 0, "discard") == 0) {
    return true;
  }
  return Internal(
      failure, errno,
      {"cannot mount the writable layer, ", root.layer_filesystem_type, " on ", root.layer_device});
}

// The directories of a layer that is used for the first time. The upper one has its attributes when
// it has its name: a machine that dies in between leaves no root directory with others.
bool PrepareLayer(Failure* failure) {
  struct stat existing;
  if (lstat(kUpper, &existing) == 0) return true;
  if ((mkdir(kWork, 0755) != 0 && errno != EEXIST) ||
      (mkdir(kNewUpper, 0755) != 0 && errno != EEXIST)) {
    return Internal(failure, errno, {"cannot make the directories of the writable layer"});
  }
  if (!CopyRootAttributes(kNewUpper, failure)) return false;
  if (rename(kNewUpper, kUpper) != 0) {
    return Internal(failure, errno, {"cannot make the directories of the writable layer"});
  }
  return true;
}

bool MountRoot(const RootRequest& root, Failure* failure) {
  // For the block device. Only this process's mount namespace has it, and not for long: it is
  // out of reach after the change of root.
  if (!Mount("devtmpfs", kDevices, "devtmpfs", MS_NOSUID | MS_NOEXEC, nullptr, failure)) {
    return false;
  }
  if (mount(root.device, kImage, root.filesystem_type, MS_RDONLY, nullptr) != 0) {
    return Internal(failure, errno,
                    {"cannot mount the image, ", root.filesystem_type, " on ", root.device});
  }
  return MountLayer(root, failure) && PrepareLayer(failure) &&
         Mount("overlay", kRoot, "overlay", 0,
               "lowerdir=/image,upperdir=/writable/upper,workdir=/writable/work", failure);
}

// The devices of what is mounted later, when they can no longer be reached by a path.
bool OpenDevices(const StartRequest& request, Fd* devices, Failure* failure) {
  for (size_t i = 0; i < request.mount_count; ++i) {
    const char* const device = request.mounts[i].device;
    if (device == nullptr) continue;
    devices[i] = Fd(open(device, O_PATH | O_CLOEXEC));
    if (!devices[i].valid()) return Internal(failure, errno, {"cannot open ", device});
  }
  return true;
}

// As switch_root does it: an initramfs cannot be left by pivot_root(2), so the new root is moved
// over the old one. Nothing below it can be reached by a path again.
bool ChangeRoot(Failure* failure) {
  if (chdir(kRoot) != 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0 ||
      chdir("/") != 0) {
    return Internal(failure, errno, {"cannot change to the container's root"});
  }
  return true;
}

struct StandardMount {
  const char* type;
  const char* target;
  unsigned long flags;
  const char* options;
};

// Those of `podman run`, in an order in which each finds its directory. /sys/fs/cgroup is writable:
// the hierarchy is the container's own. The container stays in its root: to enter a group of its
// own would cost a grace period of RCU, 10 ms of waiting at each start, and gain nothing, since the
// machine has the limits.
constexpr StandardMount kStandardMounts[] = {
    {"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr},
    {"tmpfs", "/dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
    {"mqueue", "/dev/mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr},
    {"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k"},
    {"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, nullptr},
    {"cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr},
};

bool MountStandard(Failure* failure) {
  for (const StandardMount& m : kStandardMounts) {
    // What exists is a directory already, or mount(2) says that it is not.
    if (mkdir(m.target, 0755) != 0 && errno != EEXIST && errno != EROFS) {
      return Internal(failure, errno, {"cannot make ", m.target});
    }
    if (!Mount(m.type, m.target, m.type, m.flags, m.options, failure)) return false;
  }
  return true;
}

struct DeviceNode {
  const char* path;
  unsigned major;
  unsigned minor;
};

constexpr DeviceNode kDeviceNodes[] = {
    {"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
    {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0},
};

struct Link {
  const char* path;
  const char* target;
};

constexpr Link kDeviceLinks[] = {
    {"/dev/fd", "/proc/self/fd"},       {"/dev/stdin", "/proc/self/fd/0"},
    {"/dev/stdout", "/proc/self/fd/1"}, {"/dev/stderr", "/proc/self/fd/2"},
    {"/dev/ptmx", "pts/ptmx"},          {"/dev/core", "/proc/kcore"},
};

bool PopulateDev(Failure* failure) {
  for (const DeviceNode& node : kDeviceNodes) {
    if (mknod(node.path, S_IFCHR | 0666, makedev(node.major, node.minor)) != 0) {
      return Internal(failure, errno, {"cannot make ", node.path});
    }
  }
  for (const Link& link : kDeviceLinks) {
    if (symlink(link.target, link.path) != 0) {
      return Internal(failure, errno, {"cannot make ", link.path});
    }
  }
  return true;
}

// Whether the file is there as it is wanted: one that a container had at its last start need not be
// written again, for which a full disk might have no room.
bool IsWritten(const FileRequest& file) {
  const Fd fd(open(file.path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat info;
  if (!fd.valid() || fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) ||
      (info.st_mode & 07777) != file.mode ||
      static_cast<uint64_t>(info.st_size) != file.content.size()) {
    return false;
  }
  std::string_view left = file.content;
  while (!left.empty()) {
    char bytes[512];
    const ssize_t n = read(fd.get(), bytes, sizeof(bytes));
    if (n <= 0 ||
        Prefix(left, static_cast<size_t>(n)) != std::string_view(bytes, static_cast<size_t>(n))) {
      return false;
    }
    left.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

bool WriteFile(const FileRequest& file, Failure* failure) {
  if (IsWritten(file)) return true;
  PathText parent;
  const std::string_view path(file.path);
  parent.Assign({Prefix(path, path.rfind('/'))});
  if (!parent.view().empty() &&
      !MakeDirectories(parent.c_str(), StartFailure::kInvalidSpec, failure)) {
    return false;
  }
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
  Fd fd(open(file.path, kFlags, 0600));
  if (!fd.valid() && errno == ELOOP && unlink(file.path) == 0) {
    // A symbolic link of the image, such as one into /run: the host's file takes its place.
    fd = Fd(open(file.path, kFlags | O_EXCL, 0600));
  }
  std::string_view left = file.content;
  bool ok = fd.valid() && fchmod(fd.get(), file.mode) == 0;
  while (ok && !left.empty()) {
    const ssize_t n = write(fd.get(), left.data(), left.size());
    ok = n > 0;
    if (ok) left.remove_prefix(static_cast<size_t>(n));
  }
  if (!ok) return Fail(failure, StartFailure::kInvalidSpec, errno, {"cannot write ", file.path});
  return true;
}

struct WritableDirectory {
  const char* path;
  mode_t mode;
};

// What `podman run --read-only` leaves writable.
constexpr WritableDirectory kWritableDirectories[] = {
    {"/run", 0755},
    {"/tmp", 01777},
    {"/var/tmp", 01777},
};

// Read-only is a property of the mount at /, not of the overlay below it: so the writable
// directories are bind mounts of the same overlay, and what the image has in them stays visible.
bool MakeReadOnly(Failure* failure) {
  for (const WritableDirectory& directory : kWritableDirectories) {
    struct stat unused;
    if (stat(directory.path, &unused) != 0) {
      if (!MakeDirectories(directory.path, StartFailure::kInvalidSpec, failure)) return false;
      if (chmod(directory.path, directory.mode) != 0) {
        return Internal(failure, errno, {"cannot make ", directory.path});
      }
    }
    if (mount(directory.path, directory.path, nullptr, MS_BIND, nullptr) != 0 ||
        mount(nullptr, directory.path, nullptr, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV,
              nullptr) != 0) {
      return Internal(failure, errno, {"cannot mount ", directory.path});
    }
  }
  if (mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) != 0) {
    return Internal(failure, errno, {"cannot make the root read-only"});
  }
  return true;
}

// Of a file system that its maker left as it is: what the image has there, if it is wanted.
bool FillNew(const MountRequest& mount, const Fd& image, Failure* failure) {
  if (mount.read_only) return true;
  const Fd root(open(mount.target, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return Internal(failure, errno, {"cannot open ", mount.target});
  struct stat info;
  const bool on_disk = mount.device != nullptr;
  if (on_disk && fstatat(root.get(), kMadeByMaker, &info, AT_SYMLINK_NOFOLLOW) != 0) return true;
  if (mount.copy_image && !CopyTree(image.get(), root.get(), failure)) return false;
  // Last: a machine that dies before has it copied again.
  if (!on_disk ||
      (syncfs(root.get()) == 0 && unlinkat(root.get(), kMadeByMaker, AT_REMOVEDIR) == 0)) {
    return true;
  }
  return Internal(failure, errno, {"cannot prepare the volume at ", mount.target});
}

bool MountOne(const MountRequest& mount, const Fd& device, Failure* failure) {
  const Fd image(open(mount.target, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!image.valid()) {
    return Fail(failure, StartFailure::kInvalidSpec, errno, {"cannot mount on ", mount.target});
  }
  FixedText<32> source;
  source.Assign({"none"});
  if (device.valid()) {
    source.Assign({"/proc/self/fd/", Decimal(static_cast<uint64_t>(device.get()))});
  }
  const unsigned long flags =
      (mount.read_only ? MS_RDONLY : 0) | (mount.allow_suid ? 0 : MS_NOSUID) |
      (mount.allow_devices ? 0 : MS_NODEV) | (mount.allow_exec ? 0 : MS_NOEXEC);
  return Mount(source.c_str(), mount.target, mount.filesystem_type, flags, mount.options,
               failure) &&
         FillNew(mount, image, failure);
}

}  // namespace

bool MakeDirectories(const char* path, StartFailure kind, Failure* failure) {
  // Most often it is there already.
  struct stat existing;
  if (stat(path, &existing) == 0 && S_ISDIR(existing.st_mode)) return true;
  const std::string_view all(path);
  PathText prefix;
  for (size_t slash = 0; slash != std::string_view::npos;) {
    slash = all.find('/', slash + 1);
    prefix.Assign({Prefix(all, slash)});
    if (prefix.truncated()) return Fail(failure, kind, ENAMETOOLONG, {"cannot make ", path});
    if (mkdir(prefix.c_str(), 0755) != 0 && errno != EEXIST) {
      return Fail(failure, kind, errno, {"cannot make ", prefix.view()});
    }
  }
  // mkdir(2) says EEXIST of a file and of a dangling link, too.
  const int error = stat(path, &existing) != 0 ? errno : S_ISDIR(existing.st_mode) ? 0 : ENOTDIR;
  return error == 0 || Fail(failure, kind, error, {"cannot make ", path});
}

bool EnterContainerRoot(const StartRequest& request, Failure* failure) {
  // Modes below are meant exactly.
  umask(0);
  Fd devices[kMaxMounts];
  if (!MountRoot(request.root, failure) || !OpenDevices(request, devices, failure) ||
      !ChangeRoot(failure) || !MountStandard(failure) || !PopulateDev(failure)) {
    return false;
  }
  for (size_t i = 0; i < request.file_count; ++i) {
    if (!WriteFile(request.files[i], failure)) return false;
  }
  for (size_t i = 0; i < request.mount_count; ++i) {
    if (!MakeDirectories(request.mounts[i].target, StartFailure::kInvalidSpec, failure)) {
      return false;
    }
  }
  if (request.root.read_only && !MakeReadOnly(failure)) return false;
  for (size_t i = 0; i < request.mount_count; ++i) {
    if (!MountOne(request.mounts[i], devices[i], failure)) return false;
  }
  return true;
}

}  // namespace hull::agent
