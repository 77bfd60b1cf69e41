#include <cpuid.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/emulated_host/emulated_host.h"
#include "vmm/emulated_host/internal.h"
#include "vmm/emulated_host/monotonic.h"

namespace hull::emulated_host {
namespace {

bool CpuHasVirtualisation() {
  unsigned eax, ebx, ecx, edx;
  constexpr unsigned kVmx = 1 << 5;  // Intel SDM 2A, CPUID.1:ECX
  constexpr unsigned kSvm = 1 << 2;  // AMD64 APM 3, CPUID Fn8000_0001_ECX
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kVmx) != 0) return true;
  return __get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kSvm) != 0;
}

std::string EnvironmentOr(const char* name, std::string fallback) {
  const char* value = getenv(name);
  return value != nullptr && *value != '\0' ? value : fallback;
}

// Absolute, with the links of what exists of it followed: the path is mounted over inside, where
// the same links are.
std::string Absolute(const std::string& path) {
  char resolved[PATH_MAX];
  if (realpath(path.c_str(), resolved) != nullptr) return resolved;
  if (path.front() == '/') return path;
  return realpath(".", resolved) == nullptr ? absl::StrCat("/", path)
                                            : absl::StrCat(resolved, "/", path);
}

}  // namespace

absl::StatusOr<Decision> Decide() {
  const std::string choice = EnvironmentOr("HULL_EMULATED_HOST", "auto");
  if (choice == "never") return Decision{};
  if (choice == "always") return Decision{Place::kEmulatedHost, "HULL_EMULATED_HOST=always", true};
  if (choice != "auto") {
    return absl::InvalidArgumentError(
        absl::StrCat("HULL_EMULATED_HOST is \"", choice, "\"; it can be auto, never or always"));
  }
  if (!CpuHasVirtualisation()) {
    return Decision{Place::kEmulatedHost, "this CPU shows no hardware virtualisation"};
  }
  const absl::StatusOr<UniqueFd> kvm = UniqueFd::Open("/dev/kvm", O_RDWR);
  if (kvm.ok()) return Decision{};
  if (absl::IsPermissionDenied(kvm.status())) {
    return absl::PermissionDeniedError(
        "this user may not use /dev/kvm: join its group (sudo usermod -aG kvm $USER, then log in "
        "again), or set HULL_EMULATED_HOST=always to do without it, slowly");
  }
  return Decision{Place::kEmulatedHost,
                  "there is no usable /dev/kvm (is the module kvm_intel or kvm_amd loaded?)"};
}

absl::StatusOr<Config> Config::FromEnvironment() {
  Config config;
  const bool default_root = EnvironmentOr("HULL_ROOT", "").empty();
  config.hull_root = Absolute(EnvironmentOr("HULL_ROOT", "/var/lib/hull"));
  config.hull_run = Absolute(EnvironmentOr(
      "HULL_RUN", default_root ? "/run/hull" : absl::StrCat(config.hull_root, "/run")));
  config.instance_dir = absl::StrCat(config.hull_root, "/emulated-host");
  std::string share = EnvironmentOr("HULL_SHARE", "");
  if (share.empty()) {
    char executable[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", executable, sizeof(executable));
    if (n <= 0 || n == sizeof(executable)) return PosixError("readlink \"/proc/self/exe\"");
    const std::string path(executable, static_cast<size_t>(n));
    share = absl::StrCat(path.substr(0, path.rfind('/')), "/../share");
  }
  config.assets_dir = Absolute(absl::StrCat(share, "/emulated-host"));

  // One: with two CPUs QEMU 7.2 runs them on two threads, and its nested virtualisation is then not
  // reliable (see README.md, "Limits").
  config.cpus = 1;
  struct sysinfo info = {};
  sysinfo(&info);
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  config.memory_bytes =
      std::clamp<uint64_t>(uint64_t{info.totalram} * info.mem_unit / 2, kGiB, 8 * kGiB);
  return config;
}

absl::StatusOr<UniqueFd> OpenSocket(const Config& config, SocketEnd end) {
  HULL_ASSIGN_OR_RETURN(const UniqueFd directory,
                        UniqueFd::Open(config.instance_dir, O_PATH | O_DIRECTORY));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string path = absl::StrCat("/proc/self/fd/", directory.get(), "/", kSocketName);
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return PosixError("socket");
  const std::string shown = absl::StrCat("\"", config.instance_dir, "/", kSocketName, "\"");
  if (end == SocketEnd::kConnect) {
    // A full backlog reads as EAGAIN; the supervisor's is larger than the commands one starts at
    // once.
    if (connect(fd.get(), generic, sizeof(address)) != 0) {
      return PosixError(absl::StrCat("connect to ", shown));
    }
    return fd;
  }
  if (bind(fd.get(), generic, sizeof(address)) != 0)
    return PosixError(absl::StrCat("bind ", shown));
  constexpr int kBacklog = 512;
  if (fchmodat(directory.get(), kSocketName, 0600, 0) != 0 || listen(fd.get(), kBacklog) != 0) {
    return PosixError(absl::StrCat("listen at ", shown));
  }
  return fd;
}

absl::Status LockFile(int fd, absl::Duration limit) {
  const absl::Duration deadline = MonotonicNow() + limit;
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return PosixError("flock");
    if (MonotonicNow() >= deadline) {
      return absl::DeadlineExceededError("another process holds the lock");
    }
    // flock has no time limit of its own; this is short and rare.
    usleep(10'000);
  }
  return absl::OkStatus();
}

}  // namespace hull::emulated_host
