#include "vmm/emulated_host/hostd_boot.h"

#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/emulated_host/monotonic.h"

namespace hull::emulated_host {
namespace {

// cache=mmap: nothing is cached beyond a file's last close, so that a file edited on one side is
// seen on the other by the next command, and shared mappings work. Reading programs through it
// costs a few round trips each, which readahead bounds; Hull's own are copied (PrefixCache).
// access=any: the server acts as the user that runs QEMU, whoever asks here.
constexpr char kHostOptions[] = "trans=virtio,version=9p2000.L,msize=512000,access=any,cache=mmap";
constexpr char kReadAheadKiB[] = "128";
constexpr char kNewRoot[] = "/host";
constexpr char kBareRoot[] = "/bare";
constexpr char kDataDisk[] = "/dev/vda";
// discard: what is deleted inside shrinks the sparse file outside. noinit_itable: the file reads as
// zeroes already, writing them would only make it grow.
constexpr char kDataDiskOptions[] = "discard,noinit_itable";

absl::Status Mount(const char* source, const std::string& target, const char* type,
                   unsigned long flags, const char* options) {
  if (mount(source, target.c_str(), type, flags, options) != 0) {
    return PosixError(
        absl::StrCat("mount ", type == nullptr ? source : type, " on \"", target, "\""));
  }
  return absl::OkStatus();
}

absl::Status MakeDirectories(const std::string& path, mode_t mode) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    if (mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) {
      return PosixError(absl::StrCat("mkdir \"", parent, "\""));
    }
  }
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return PosixError(absl::StrCat("mkdir \"", path, "\""));
  }
  return absl::OkStatus();
}

// KVM takes the TSC's frequency when it is loaded, from the kernel's first, coarse measurement. A
// second later the kernel has a better one, and where that is higher by more than the tolerance
// (250 ppm), KVM thinks that each new vCPU is to be slower than this CPU, which it refuses: the
// vCPU's TSC stands still for KVM and its timer never fires. One part in a hundred is within what
// is told apart here.
constexpr char kKvmOptions[] = "tsc_tolerance_ppm=10000";

absl::Status InsertModule(const std::string& path) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd fd, UniqueFd::Open(path, O_RDONLY));
  const char* const options = absl::EndsWith(path, "/kvm.ko") ? kKvmOptions : "";
  if (syscall(SYS_finit_module, fd.get(), options, 0) != 0 && errno != EEXIST) {
    return PosixError(absl::StrCat("insert module \"", path, "\""));
  }
  return absl::OkStatus();
}

absl::Status BringUpLoopback() {
  const UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return PosixError("socket");
  ifreq request = {};
  memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) return PosixError("bring up lo");
  return absl::OkStatus();
}

// 9p switches readahead off where it does not cache; programs are mapped all the same.
void SetReadAhead() {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir("/sys/class/bdi"), closedir);
  if (dir == nullptr) return;
  while (const dirent* entry = readdir(dir.get())) {
    if (strncmp(entry->d_name, "9p", 2) != 0) continue;
    const absl::StatusOr<UniqueFd> file =
        UniqueFd::Open(absl::StrCat("/sys/class/bdi/", entry->d_name, "/read_ahead_kb"), O_WRONLY);
    if (file.ok()) (void)WriteFull(file->get(), kReadAheadKiB);
  }
}

// Waits up to `limit` for every child to end.
void ReapAll(absl::Duration limit) {
  const absl::Duration deadline = MonotonicNow() + limit;
  while (MonotonicNow() < deadline) {
    const pid_t pid = waitpid(-1, nullptr, WNOHANG);
    if (pid < 0 && errno == ECHILD) return;
    if (pid == 0) usleep(5000);
  }
}

}  // namespace

void LogToKernel(absl::string_view line) {
  const absl::StatusOr<UniqueFd> kmsg = UniqueFd::Open("/dev/kmsg", O_WRONLY);
  // <3>: an error, which the console shows although the kernel is told to be quiet.
  if (kmsg.ok()) (void)WriteFull(kmsg->get(), absl::StrCat("<3>hull-hostd: ", line, "\n"));
}

absl::Status PrepareKernel() {
  HULL_RETURN_IF_ERROR(Mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr));
  HULL_RETURN_IF_ERROR(Mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr));
  HULL_RETURN_IF_ERROR(Mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755"));
  // A process without standard streams would get them as its first open files.
  for (int fd = 0; fd < 3; ++fd) {
    if (open("/dev/null", O_RDWR) < 0) return PosixError("open \"/dev/null\"");
  }
  constexpr size_t kMaxList = 64 * 1024;
  HULL_ASSIGN_OR_RETURN(const std::string order, ReadFile("/modules/order", kMaxList));
  for (const absl::string_view name : absl::StrSplit(order, '\n', absl::SkipEmpty())) {
    const absl::Status inserted = InsertModule(absl::StrCat("/modules/", name));
    if (!inserted.ok()) LogToKernel(inserted.message());
  }
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> OpenPort() {
  // The driver learns of its ports by messages, some time after it is there.
  constexpr absl::Duration kLimit = absl::Seconds(60);
  const absl::Duration deadline = MonotonicNow() + kLimit;
  while (MonotonicNow() < deadline) {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir("/sys/class/virtio-ports"), closedir);
    const dirent* entry = nullptr;
    while (dir != nullptr && (entry = readdir(dir.get())) != nullptr) {
      const absl::StatusOr<std::string> name =
          ReadFile(absl::StrCat("/sys/class/virtio-ports/", entry->d_name, "/name"), 256);
      if (!name.ok() || absl::StripTrailingAsciiWhitespace(*name) != kPortName) continue;
      absl::StatusOr<UniqueFd> port =
          UniqueFd::Open(absl::StrCat("/dev/", entry->d_name), O_RDWR | O_NONBLOCK);
      if (port.ok()) return port;
    }
    usleep(2000);
  }
  return absl::DeadlineExceededError("no virtio-serial port to the supervisor");
}

absl::StatusOr<UniqueFd> MountFileSystems(const BootConfig& config) {
  const std::string root = kNewRoot;
  HULL_RETURN_IF_ERROR(Mount(kHostTag, root, "9p", 0, kHostOptions));
  SetReadAhead();
  // The same file system a second time: this mount gets nothing on top.
  HULL_RETURN_IF_ERROR(Mount(kNewRoot, kBareRoot, nullptr, MS_BIND, nullptr));
  HULL_ASSIGN_OR_RETURN(UniqueFd bare, UniqueFd::Open(kBareRoot, O_PATH | O_DIRECTORY));

  for (const char* directory : {"/dev", "/proc", "/sys"}) {
    HULL_RETURN_IF_ERROR(
        Mount(directory, absl::StrCat(root, directory), nullptr, MS_MOVE, nullptr));
  }
  if (chdir(kNewRoot) != 0) return PosixError("chdir");
  HULL_RETURN_IF_ERROR(Mount(".", "/", nullptr, MS_MOVE, nullptr));
  if (chroot(".") != 0 || chdir("/") != 0) return PosixError("chroot");

  HULL_RETURN_IF_ERROR(MakeDirectories("/dev/pts", 0755));
  HULL_RETURN_IF_ERROR(MakeDirectories("/dev/shm", 01777));
  HULL_RETURN_IF_ERROR(
      Mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666"));
  HULL_RETURN_IF_ERROR(Mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"));
  const struct {
    const char* target;
    const char* link;
  } kLinks[] = {{"/proc/self/fd", "/dev/fd"},
                {"/proc/self/fd/0", "/dev/stdin"},
                {"/proc/self/fd/1", "/dev/stdout"},
                {"/proc/self/fd/2", "/dev/stderr"}};
  for (const auto& link : kLinks) {
    if (symlink(link.target, link.link) != 0) return PosixError("symlink in /dev");
  }
  HULL_RETURN_IF_ERROR(Mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"));
  // favordynmods as hosts of microVMs have it: see README.md.
  HULL_RETURN_IF_ERROR(Mount("cgroup2", "/sys/fs/cgroup", "cgroup2",
                             MS_NOSUID | MS_NODEV | MS_NOEXEC, "nsdelegate,favordynmods"));

  HULL_RETURN_IF_ERROR(MakeDirectories(kDataDirectory, 0700));
  HULL_RETURN_IF_ERROR(Mount(kDataDisk, kDataDirectory, "ext4", MS_NODEV, kDataDiskOptions));
  const std::string hull_root = absl::StrCat(kDataDirectory, "/root");
  HULL_RETURN_IF_ERROR(MakeDirectories(hull_root, 0755));
  HULL_RETURN_IF_ERROR(MakeDirectories(config.hull_root, 0755));
  HULL_RETURN_IF_ERROR(Mount(hull_root.c_str(), config.hull_root, nullptr, MS_BIND, nullptr));
  // Sockets and pids do not outlive a boot.
  HULL_RETURN_IF_ERROR(MakeDirectories(config.hull_run, 0755));
  HULL_RETURN_IF_ERROR(Mount("tmpfs", config.hull_run, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"));

  if (sethostname(config.host_name.data(), config.host_name.size()) != 0) {
    return PosixError("sethostname");
  }
  HULL_RETURN_IF_ERROR(BringUpLoopback());
  return bare;
}

void PowerOff() {
  constexpr absl::Duration kGracePeriod = absl::Seconds(5);
  kill(-1, SIGTERM);
  kill(-1, SIGCONT);
  ReapAll(kGracePeriod);
  kill(-1, SIGKILL);
  ReapAll(kGracePeriod);
  sync();
  // Bind mounts of the file system share its superblock: read-only for one is for all.
  if (mount(nullptr, kDataDirectory, nullptr, MS_REMOUNT | MS_RDONLY, nullptr) != 0) sync();
  reboot(RB_POWER_OFF);
  while (true) pause();
}

}  // namespace hull::emulated_host
