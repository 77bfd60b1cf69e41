// Hull's own programs and kernel, copied from the user's file system to the data disk.
//
// Reading through 9p is coherent and slow: every start of a program would fetch its pages again.
// So a program in <prefix>/bin beside a <prefix>/share with a guest kernel in it is run from a copy
// of both directories. The copy is found by the names, sizes, times and inode numbers of all its
// files, looked at for every command, so a rebuilt program is noticed at once.

#ifndef VMM_EMULATED_HOST_HOSTD_PREFIX_CACHE_H_
#define VMM_EMULATED_HOST_HOSTD_PREFIX_CACHE_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"

namespace hull::emulated_host {

// Holds no state but the two places; used from forked children as well, which exclude one another
// by a lock file.
class PrefixCache {
 public:
  // `host_root`: a mount of the user's file system with nothing mounted over its directories.
  // `directory`: on the data disk; created here, and emptied of all but the newest copy.
  static absl::StatusOr<PrefixCache> Create(UniqueFd host_root, std::string directory);

  // The path of the copy of `program` (absolute), made now if it is not there or not current; or
  // `program` itself when it is not in a prefix.
  absl::StatusOr<std::string> Resolve(const std::string& program) const;

 private:
  PrefixCache(UniqueFd host_root, std::string directory)
      : host_root_(std::move(host_root)), directory_(std::move(directory)) {}

  UniqueFd host_root_;
  std::string directory_;
};

}  // namespace hull::emulated_host

#endif  // VMM_EMULATED_HOST_HOSTD_PREFIX_CACHE_H_
