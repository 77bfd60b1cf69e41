#include "vmm/sandbox/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::sandbox {
namespace {

constexpr char kParent[] = "/hull";
constexpr const char* kControllers[] = {"cpu", "memory", "pids"};
// Files of the kernel that are read here have a line or a few.
constexpr size_t kFileLimit = 64 << 10;
// The period over which processor time is counted, in microseconds; the kernel's own default.
constexpr uint64_t kPeriod = 100'000;

absl::Status WriteControl(int directory, const std::string& name, absl::string_view value) {
  const UniqueFd file(openat(directory, name.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid() || write(file.get(), value.data(), value.size()) < 0) {
    return PosixError(absl::StrCat("set ", name, " of the VMM's control group to ", value));
  }
  return absl::OkStatus();
}

absl::Status EnableControllers(const std::string& directory) {
  std::string value;
  for (const char* controller : kControllers) absl::StrAppend(&value, "+", controller, " ");
  return WriteControl(AT_FDCWD, absl::StrCat(directory, "/cgroup.subtree_control"), value);
}

// Once a boot.
absl::StatusOr<UniqueFd> MakeParent(const CgroupHost& host) {
  HULL_ASSIGN_OR_RETURN(const std::string base, FindCgroupBase(host));
  HULL_RETURN_IF_ERROR(EnableControllers(base));
  const std::string path = absl::StrCat(base, kParent);
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
    return PosixError(absl::StrCat("create control group \"", path, "\""));
  }
  HULL_RETURN_IF_ERROR(EnableControllers(path));
  return UniqueFd::Open(path, O_RDONLY | O_DIRECTORY);
}

void RemoveEmpty(int parent, const std::function<bool(absl::string_view)>& in_use) {
  const int copy = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(fdopendir(copy), closedir);
  if (directory == nullptr) {
    if (copy >= 0) close(copy);
    return;
  }
  while (const dirent* entry = readdir(directory.get())) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || in_use(entry->d_name)) continue;
    // Fails where somebody is left.
    unlinkat(parent, entry->d_name, AT_REMOVEDIR);
  }
}

// 0 or an errno. A group of this name is that of a VMM which the kernel still dissolves, as when a
// container is started again at once.
int MakeGroup(int parent, const std::string& name) {
  constexpr int kTries = 5000;
  constexpr useconds_t kPause = 1000;
  for (int i = 0; i < kTries; ++i) {
    if (mkdirat(parent, name.c_str(), 0755) == 0) return 0;
    if (errno != EEXIST) return errno;
    if (unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) usleep(kPause);
  }
  return EEXIST;
}

absl::Status SetLimits(int directory, const CgroupLimits& limits) {
  HULL_RETURN_IF_ERROR(WriteControl(directory, "memory.max", absl::StrCat(limits.memory_bytes)));
  HULL_RETURN_IF_ERROR(WriteControl(directory, "pids.max", absl::StrCat(limits.threads)));
  HULL_RETURN_IF_ERROR(WriteControl(
      directory, "cpu.max", absl::StrCat(limits.processor_millis * kPeriod / 1000, " ", kPeriod)));
  // Not there where the kernel cannot swap.
  const absl::Status swap = WriteControl(directory, "memory.swap.max", "0");
  return absl::IsNotFound(swap) ? absl::OkStatus() : swap;
}

}  // namespace

CgroupLimits LimitsOfMachine(uint64_t guest_bytes, uint32_t vcpus, uint64_t processor_millis) {
  constexpr uint64_t kOwnMemory = uint64_t{64} << 20;
  constexpr uint32_t kOwnThreads = 16;
  return {.memory_bytes = guest_bytes + guest_bytes / 8 + kOwnMemory,
          .threads = vcpus + kOwnThreads,
          .processor_millis = processor_millis};
}

CgroupHost ThisCgroupHost() { return {.root = geteuid() == 0}; }

absl::StatusOr<std::string> FindCgroupBase(const CgroupHost& host) {
  if (access(absl::StrCat(host.mount, "/cgroup.controllers").c_str(), F_OK) != 0) {
    return absl::FailedPreconditionError(absl::StrCat("version 2 is not mounted at ", host.mount));
  }
  std::string base = host.mount;
  if (!host.root) {
    HULL_ASSIGN_OR_RETURN(const std::string text, ReadFile(host.own, kFileLimit));
    for (absl::string_view line : absl::StrSplit(text, '\n')) {
      if (!absl::ConsumePrefix(&line, "0::")) continue;
      absl::StrAppend(&base, line.substr(0, line.rfind('/')));
    }
    if (access(base.c_str(), W_OK) != 0 ||
        access(absl::StrCat(base, "/cgroup.procs").c_str(), W_OK) != 0) {
      return absl::FailedPreconditionError("version 2, of which nothing is delegated to this user");
    }
  }
  HULL_ASSIGN_OR_RETURN(const std::string text,
                        ReadFile(absl::StrCat(base, "/cgroup.controllers"), kFileLimit));
  const std::vector<std::string> present = absl::StrSplit(absl::StripAsciiWhitespace(text), ' ');
  std::vector<std::string> missing;
  for (const char* controller : kControllers) {
    if (std::find(present.begin(), present.end(), controller) == present.end()) {
      missing.emplace_back(controller);
    }
  }
  if (!missing.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("version 2 without ", absl::StrJoin(missing, ", ")));
  }
  return base;
}

absl::StatusOr<std::optional<Cgroup>> Cgroup::Create(
    const CgroupHost& host, absl::string_view name, const CgroupLimits& limits,
    const std::function<bool(absl::string_view)>& in_use) {
  // As a rule the parent is there, and nothing else has to be looked at.
  std::string base = host.mount;
  if (!host.root) {
    const absl::StatusOr<std::string> found = FindCgroupBase(host);
    if (!found.ok()) return std::nullopt;
    base = *found;
  }
  const std::string parent_path = absl::StrCat(base, kParent);
  absl::StatusOr<UniqueFd> parent = UniqueFd::Open(parent_path, O_RDONLY | O_DIRECTORY);
  if (!parent.ok()) parent = MakeParent(host);
  if (!parent.ok()) return std::nullopt;
  RemoveEmpty(parent->get(), in_use);

  const std::string own(name);
  if (const int error = MakeGroup(parent->get(), own); error != 0) {
    return PosixError(error, absl::StrCat("create control group \"", parent_path, "/", name, "\""));
  }
  UniqueFd directory(openat(parent->get(), own.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  absl::Status status =
      directory.valid() ? SetLimits(directory.get(), limits) : PosixError("open a control group");
  if (absl::IsNotFound(status)) {
    // Whoever made the parent was killed before it had controllers; it gets them now.
    status = MakeParent(host).status();
    if (status.ok()) status = SetLimits(directory.get(), limits);
  }
  if (!status.ok()) {
    unlinkat(parent->get(), own.c_str(), AT_REMOVEDIR);
    return status;
  }
  return Cgroup(absl::StrCat(parent_path, "/", name), std::move(directory));
}

Cgroup::Cgroup(std::string path, UniqueFd directory)
    : path_(std::move(path)), directory_(std::move(directory)) {}

bool Cgroup::removed() const { return faccessat(directory_.get(), "cgroup.procs", F_OK, 0) != 0; }

absl::Status Cgroup::Remove() {
  if (rmdir(path_.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return PosixError(absl::StrCat("remove control group \"", path_, "\""));
}

}  // namespace hull::sandbox
