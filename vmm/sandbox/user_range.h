// The users that jailed processes run as: one each, out of a range that nobody else uses.

#ifndef VMM_SANDBOX_USER_RANGE_H_
#define VMM_SANDBOX_USER_RANGE_H_

#include <sys/types.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"

namespace hull::sandbox {

// `count` user ids from `first` on; the group ids are the same.
struct UserRange {
  uid_t first = 0;
  uint32_t count = 0;
};

// Where no other is configured: above what Debian and /etc/subuid hand out.
inline constexpr UserRange kDefaultUserRange = {.first = 0x70000000, .count = 65536};

// "FIRST:COUNT". kInvalidArgument for anything else, and for a range that holds system users
// (below 1000), "nobody" (65534, 65535) or -1. Pure.
absl::StatusOr<UserRange> ParseUserRange(absl::string_view text);

// A user of the range that no other process of this host has claimed through `claims`.
struct ClaimedUser {
  uid_t user = 0;
  // Holds the claim; the kernel takes it back when the last copy of this is closed, so whoever runs
  // as the user must not be the one that holds it.
  UniqueFd claim;
};

// `claims` is a file that is created if it is missing, in a directory that exists: each byte of it
// stands for a user and is locked by who claimed it. kResourceExhausted when all are taken;
// kFailedPrecondition if the file is not the caller's own or others may write to it.
absl::StatusOr<ClaimedUser> ClaimUser(const UserRange& range, const std::string& claims);

}  // namespace hull::sandbox

#endif  // VMM_SANDBOX_USER_RANGE_H_
