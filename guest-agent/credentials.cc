#include "guest-agent/credentials.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "guest-agent/fd.h"
#include "guest-agent/text.h"

namespace hull::agent {
namespace {

// A larger /etc/passwd or /etc/group is refused rather than read in part.
constexpr size_t kMaxAccountFile = 1024 * 1024;

// The whole of a regular file; `*text` is empty if there is none. The memory is never given back:
// the process is about to become another program.
bool ReadAccountFile(const char* path, std::string_view* text, Failure* failure) {
  *text = {};
  // Not blocking: a fifo of that name must not stop the start.
  const Fd fd(open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd.valid()) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return true;
    return Fail(failure, StartFailure::kInvalidSpec, errno, {"cannot open ", path});
  }
  struct stat info;
  if (fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return Fail(failure, StartFailure::kInvalidSpec, 0, {path, " is not a regular file"});
  }
  if (info.st_size == 0) return true;
  if (info.st_size > static_cast<off_t>(kMaxAccountFile)) {
    return Fail(failure, StartFailure::kInvalidSpec, 0, {path, " is larger than 1 MiB"});
  }
  const size_t size = static_cast<size_t>(info.st_size);
  void* const memory =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return Fail(failure, StartFailure::kInternal, errno, {"no memory for ", path});
  }
  size_t have = 0;
  while (have < size) {
    const ssize_t n = read(fd.get(), static_cast<char*>(memory) + have, size - have);
    if (n < 0) return Fail(failure, StartFailure::kInvalidSpec, errno, {"cannot read ", path});
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  *text = {static_cast<const char*>(memory), have};
  return true;
}

// The kernel's capabilities are 64 bits in two halves.
bool SetCapabilities(const CapabilitySets& sets, uint64_t known, Failure* failure) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  for (int half = 0; half < 2; ++half) {
    const auto part = [&](uint64_t set) {
      return static_cast<uint32_t>((set & known) >> (32 * half));
    };
    data[half] = {part(sets.effective), part(sets.permitted), part(sets.inheritable)};
  }
  if (syscall(SYS_capset, &header, data) != 0) {
    return Fail(failure, StartFailure::kInvalidSpec, errno, {"cannot set these capabilities"});
  }
  for (unsigned long capability = 0; capability < 64; ++capability) {
    if (((sets.ambient & known) >> capability & 1) == 0) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) {
      return Fail(failure, StartFailure::kInvalidSpec, errno,
                  {"cannot raise ambient capability ", Decimal(capability)});
    }
  }
  return true;
}

// Takes what `bounding` lacks from the bounding set. `*known`: what the kernel has at all.
bool DropBounding(uint64_t bounding, uint64_t* known, Failure* failure) {
  *known = 0;
  for (unsigned long capability = 0; capability < 64; ++capability) {
    const bool wanted = (bounding >> capability & 1) != 0;
    const int result = wanted ? prctl(PR_CAPBSET_READ, capability, 0, 0, 0)
                              : prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    if (result < 0) {
      if (errno == EINVAL) break;  // the first that this kernel does not have
      return Fail(failure, StartFailure::kInternal, errno,
                  {"cannot drop capability ", Decimal(capability)});
    }
    *known |= uint64_t{1} << capability;
  }
  return true;
}

}  // namespace

bool LookUpUser(std::string_view user, Identity* identity, Failure* failure) {
  std::string_view passwd, group;
  if (!ReadAccountFile("/etc/passwd", &passwd, failure) ||
      !ReadAccountFile("/etc/group", &group, failure)) {
    return false;
  }
  const std::string_view name = Prefix(user, user.find(':'));
  const auto refuse = [failure](std::initializer_list<std::string_view> parts) {
    return Fail(failure, StartFailure::kInvalidSpec, 0, parts);
  };
  switch (ResolveUser(user, passwd, group, identity)) {
    case AccountResult::kOk:
      return true;
    case AccountResult::kNoSuchUser:
      return refuse({"unable to find user ", name, ": no matching entries in passwd file"});
    case AccountResult::kNoSuchGroup:
      return refuse({"unable to find group ", WithoutPrefix(user, name.size() + 1),
                     ": no matching entries in group file"});
    case AccountResult::kOutOfRange:
      return refuse({"user ", user, ": uids and gids must be in range 0-2147483647"});
    case AccountResult::kTooManyGroups:
      return refuse({"user ", name, " is in more than ", Decimal(kMaxGroups), " groups"});
  }
  return refuse({"unable to find user ", name});
}

bool SetRlimits(const StartRequest& request, Failure* failure) {
  for (size_t i = 0; i < request.rlimit_count; ++i) {
    const RlimitRequest& limit = request.rlimits[i];
    // The 64-bit call: no rounding of large values on the way.
    const uint64_t values[2] = {limit.soft, limit.hard};
    if (syscall(SYS_prlimit64, 0, limit.resource, values, nullptr) != 0) {
      return Fail(failure, StartFailure::kInvalidSpec, errno,
                  {"cannot set resource limit ", Decimal(limit.resource), " to ",
                   Decimal(limit.soft), ":", Decimal(limit.hard)});
    }
  }
  return true;
}

bool SetCredentials(const StartRequest& request, const Identity& identity, Failure* failure) {
  // With the primary group among them, as in podman since CVE-2022-2989: a process that drops its
  // primary group must not get round a mode that denies that group.
  uint32_t groups[1 + kMaxGroups + kMaxAdditionalGids];
  size_t count = 0;
  groups[count++] = identity.gid;
  for (size_t i = 0; i < identity.group_count; ++i) groups[count++] = identity.groups[i];
  for (size_t i = 0; i < request.additional_gid_count; ++i) {
    groups[count++] = request.additional_gids[i];
  }

  uint64_t known = 0;
  if (!DropBounding(request.capabilities.bounding, &known, failure)) return false;
  // So that the permitted set survives the change of uid, to be cut down by capset(2).
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) {
    return Fail(failure, StartFailure::kInternal, errno, {"cannot keep capabilities"});
  }
  // The raw calls: glibc's are for processes with threads.
  if (syscall(SYS_setgroups, count, groups) != 0 ||
      syscall(SYS_setresgid, identity.gid, identity.gid, identity.gid) != 0 ||
      syscall(SYS_setresuid, identity.uid, identity.uid, identity.uid) != 0) {
    return Fail(failure, StartFailure::kInvalidSpec, errno,
                {"cannot become user ", Decimal(identity.uid), ":", Decimal(identity.gid)});
  }
  if (!SetCapabilities(request.capabilities, known, failure)) return false;
  if (request.no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return Fail(failure, StartFailure::kInternal, errno, {"cannot set no_new_privs"});
  }
  return true;
}

}  // namespace hull::agent
