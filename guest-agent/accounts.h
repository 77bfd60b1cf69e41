// Users and groups, from the text of /etc/passwd and /etc/group. Pure. The rules are those of
// runc's and podman's lookups, so that an image means the same user here as there.

#ifndef GUEST_AGENT_ACCOUNTS_H_
#define GUEST_AGENT_ACCOUNTS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hull::agent {

// The kernel's NGROUPS_MAX is 65536; a user that is in more groups than this is refused.
inline constexpr size_t kMaxGroups = 1024;

struct Identity {
  uint32_t uid = 0;
  uint32_t gid = 0;
  // The supplementary groups that /etc/group gives the user.
  uint32_t groups[kMaxGroups];
  size_t group_count = 0;
  // The user's home directory; points into the passwd text, or is "/".
  std::string_view home = "/";
};

enum class AccountResult {
  kOk,
  kNoSuchUser,   // a name without an entry in passwd
  kNoSuchGroup,  // a name without an entry in group
  kOutOfRange,   // a number that is no uid or gid (at most 2^31 - 1)
  kTooManyGroups,
};

// `user` is "", "USER" or "USER:GROUP", each a name or a number; "" is uid 0. The first matching
// line counts. A number needs no entry. Supplementary groups are given only where `user` names no
// group and the user has an entry in passwd. Lines that are not well formed are skipped.
AccountResult ResolveUser(std::string_view user, std::string_view passwd, std::string_view group,
                          Identity* identity);

// The name of the first entry of `passwd` with this uid; empty if there is none.
std::string_view FindUserName(std::string_view passwd, uint32_t uid);

}  // namespace hull::agent

#endif  // GUEST_AGENT_ACCOUNTS_H_
