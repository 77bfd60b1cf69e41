// A control group of its own for a container's hull-vmm: what it may use of the host, whatever the
// guest does and whatever the VMM's own limits (jail.h) do not count, such as page tables.
//
// Control groups version 2, Linux kernel documentation: admin-guide/cgroup-v2.rst. The groups are
// <base>/hull/<name>, where <base> is the root of the hierarchy for root, and for another user the
// directory around his own group, if that was delegated to him.

#ifndef VMM_SANDBOX_CGROUP_H_
#define VMM_SANDBOX_CGROUP_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"

namespace hull::sandbox {

struct CgroupLimits {
  uint64_t memory_bytes = 0;  // of every kind, the kernel's for it included; nothing is swapped
  uint32_t threads = 0;
  uint64_t processor_millis = 0;  // thousandths of a processor's time
};

// What a VMM with so much guest memory and so many vCPUs can need, and no more: of memory an eighth
// in addition for what KVM keeps about each page, and 64 MiB for the program and its buffers
// (BOUNDS.md); of threads one a vCPU and 16 more, its own and KVM's. `processor_millis` is as in
// the result. Pure.
CgroupLimits LimitsOfMachine(uint64_t guest_bytes, uint32_t vcpus, uint64_t processor_millis);

// Where this process finds control groups; tests have their own.
struct CgroupHost {
  std::string mount = "/sys/fs/cgroup";
  std::string own = "/proc/self/cgroup";  // proc_pid_cgroup(5)
  bool root;                              // whether this is root's process
};
CgroupHost ThisCgroupHost();

// The directory below which Hull's groups are or would be. kFailedPrecondition says why there can
// be none.
absl::StatusOr<std::string> FindCgroupBase(const CgroupHost& host);

class Cgroup {
 public:
  // Makes the group `name` with these limits; nothing where the host has none to give (`hull info`
  // says why). A limit that cannot be set is an error, and no group is left.
  //
  // First removes the groups of Hull's in which nobody is left, but for those that are `in_use`:
  // who made them was killed. Another user of the same base may lose one that way which has nobody
  // in it yet: see removed().
  static absl::StatusOr<std::optional<Cgroup>> Create(
      const CgroupHost& host, absl::string_view name, const CgroupLimits& limits,
      const std::function<bool(absl::string_view name)>& in_use);

  // For clone3(2)'s CLONE_INTO_CGROUP: a child that is born into a group need not be moved there,
  // for which the kernel lets everybody wait.
  int directory() const { return directory_.get(); }
  // The path of the directory that Remove() needs to change.
  std::string parent() const { return path_.substr(0, path_.rfind('/')); }
  // Whether somebody took it away.
  bool removed() const;
  // Takes it away. An error if there are processes in it.
  absl::Status Remove();

 private:
  Cgroup(std::string path, UniqueFd directory);

  std::string path_;
  UniqueFd directory_;
};

}  // namespace hull::sandbox

#endif  // VMM_SANDBOX_CGROUP_H_
