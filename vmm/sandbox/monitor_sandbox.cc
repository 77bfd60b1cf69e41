#include "vmm/sandbox/monitor_sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/sandbox/seccomp.h"

namespace hull::sandbox {
namespace {

constexpr rlim_t kMaxAddressSpace = rlim_t{1} << 30;

// Everything of Landlock's first version, which all later ones have.
constexpr uint64_t kAllRights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
constexpr uint64_t kOwnRights = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                                LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                                LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR;

absl::Status SetLimit(__rlimit_resource resource, rlim_t value) {
  rlimit limit;
  if (getrlimit(resource, &limit) != 0) return PosixError("sandbox: getrlimit");
  // One that is lower already stays, as only root may raise it.
  value = std::min(value, limit.rlim_max);
  const rlimit wanted = {value, value};
  if (setrlimit(resource, &wanted) != 0) return PosixError("sandbox: limit resources");
  return absl::OkStatus();
}

absl::Status AddRule(int ruleset, const std::string& path, uint64_t rights) {
  const UniqueFd directory(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) {
    return errno == ENOENT ? absl::OkStatus()
                           : PosixError(absl::StrCat("sandbox: open \"", path, "\""));
  }
  landlock_path_beneath_attr rule = {};
  rule.allowed_access = rights;
  rule.parent_fd = directory.get();
  if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
    return PosixError(absl::StrCat("sandbox: Landlock rule for \"", path, "\""));
  }
  return absl::OkStatus();
}

// Only narrows: `hull info` says where it is missing.
absl::Status RestrictFiles(const MonitorSandbox& sandbox) {
  landlock_ruleset_attr rules = {};
  rules.handled_access_fs = kAllRights;
  const UniqueFd ruleset(
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0)));
  if (!ruleset.valid()) {
    if (errno == ENOSYS || errno == EOPNOTSUPP) return absl::OkStatus();
    return PosixError("sandbox: Landlock");
  }
  for (const std::string& path : sandbox.own) {
    HULL_RETURN_IF_ERROR(AddRule(ruleset.get(), path, kOwnRights));
  }
  for (const std::string& path : sandbox.parents) {
    HULL_RETURN_IF_ERROR(
        AddRule(ruleset.get(), path, LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR));
  }
  for (const std::string& path : sandbox.links) {
    HULL_RETURN_IF_ERROR(AddRule(ruleset.get(), path, LANDLOCK_ACCESS_FS_REMOVE_FILE));
  }
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
    return PosixError("sandbox: Landlock");
  }
  const UniqueFd root(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (root.valid() || errno != EACCES) {
    return absl::InternalError("sandbox: a directory can still be opened");
  }
  return absl::OkStatus();
}

constexpr uint32_t kMonitorCapabilities = 1u << CAP_KILL | 1u << CAP_DAC_READ_SEARCH;

absl::Status DropCapabilities(uint32_t all_but) {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, sets) != 0) {
    return PosixError("sandbox: read the capabilities");
  }
  // Nobody gains one here who had none.
  const uint32_t kept = sets[0].permitted & all_but;
  sets[0] = {.effective = kept, .permitted = kept, .inheritable = 0};
  sets[1] = {};
  if (syscall(SYS_capset, &header, sets) != 0 || syscall(SYS_capget, &header, sets) != 0) {
    return PosixError("sandbox: drop capabilities");
  }
  if (sets[0].permitted != kept || sets[1].permitted != 0) {
    return absl::InternalError("sandbox: a capability is left");
  }
  return absl::OkStatus();
}

absl::Status Restrict(const MonitorSandbox& sandbox, uint32_t capabilities) {
  HULL_RETURN_IF_ERROR(SetLimit(RLIMIT_CORE, 0));
  HULL_RETURN_IF_ERROR(SetLimit(RLIMIT_AS, kMaxAddressSpace));
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return PosixError("sandbox: no_new_privs");
  }
  HULL_RETURN_IF_ERROR(RestrictFiles(sandbox));
  HULL_RETURN_IF_ERROR(DropCapabilities(capabilities));
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return PosixError("sandbox: dumpable");
  return absl::OkStatus();
}

}  // namespace

absl::Status RestrictMonitor(const MonitorSandbox& sandbox) {
  return Restrict(sandbox, kMonitorCapabilities);
}

absl::Status RestrictDisplay() { return Restrict({}, /*capabilities=*/0); }

absl::Status ConfineDisplay() {
  HULL_RETURN_IF_ERROR(RestrictDisplay());
  HULL_RETURN_IF_ERROR(InstallViolationHandler("hull-display"));
  return EnterFilter(ThreadKind::kDisplay);
}

absl::Status ConfineMonitor(const MonitorSandbox& sandbox) {
  HULL_RETURN_IF_ERROR(RestrictMonitor(sandbox));
  HULL_RETURN_IF_ERROR(InstallViolationHandler("hull monitor"));
  return EnterFilter(ThreadKind::kMonitor);
}

}  // namespace hull::sandbox
