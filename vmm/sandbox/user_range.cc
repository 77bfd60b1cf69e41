#include "vmm/sandbox/user_range.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/random.h"
#include "vmm/base/status_macros.h"

namespace hull::sandbox {
namespace {

constexpr uint64_t kFirstUser = 1000;
constexpr uint64_t kNobody = 65534;
constexpr uint64_t kSixteenBitNobody = 65535;
constexpr uint64_t kEndOfUsers = 0xffffffff;  // (uid_t)-1 means "no user".

struct flock LockOf(uint64_t start, uint64_t size) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(start);
  lock.l_len = static_cast<off_t>(size);
  return lock;
}

// Claims one of [from, to); the user, or 0 if all are taken.
absl::StatusOr<uid_t> ClaimWithin(int fd, uint64_t from, uint64_t to) {
  for (uint64_t user = from; user < to; ++user) {
    struct flock lock = LockOf(user, 1);
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return static_cast<uid_t>(user);
    if (errno != EAGAIN && errno != EACCES) return PosixError("claim a user id");
  }
  return 0;
}

}  // namespace

absl::StatusOr<UserRange> ParseUserRange(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  UserRange range;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &range.first) ||
      !absl::SimpleAtoi(parts[1], &range.count)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is not a range of user ids: expected FIRST:COUNT"));
  }
  const uint64_t end = uint64_t{range.first} + range.count;
  if (range.count == 0) return absl::InvalidArgumentError("a range of no user ids");
  if (range.first < kFirstUser || end > kEndOfUsers ||
      (range.first <= kSixteenBitNobody && end > kNobody)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the range of user ids ", text, " holds some that are not for containers (below ",
        kFirstUser, ", ", kNobody, ", ", kSixteenBitNobody, " or ", kEndOfUsers, ")"));
  }
  return range;
}

absl::StatusOr<ClaimedUser> ClaimUser(const UserRange& range, const std::string& claims) {
  HULL_ASSIGN_OR_RETURN(UniqueFd file, UniqueFd::Open(claims, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  struct stat info;
  if (fstat(file.get(), &info) != 0) return PosixError(absl::StrCat("inspect \"", claims, "\""));
  if (info.st_uid != geteuid() || (info.st_mode & 022) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "\"", claims, "\" belongs to user ", info.st_uid,
        " or can be written by others, who could give two containers the same user id: remove it"));
  }
  // From anywhere in the range on, so that a user id is not used again at once.
  uint32_t random;
  HULL_RETURN_IF_ERROR(FillRandom(std::span(reinterpret_cast<uint8_t*>(&random), sizeof(random))));
  const uint64_t first = range.first;
  const uint64_t start = first + random % range.count;
  HULL_ASSIGN_OR_RETURN(uid_t user, ClaimWithin(file.get(), start, first + range.count));
  if (user == 0) {
    HULL_ASSIGN_OR_RETURN(user, ClaimWithin(file.get(), first, start));
  }
  if (user == 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all ", range.count, " user ids from ", range.first,
                     " on are in use by running containers: configure a larger range (HULL_UIDS)"));
  }
  return ClaimedUser{.user = user, .claim = std::move(file)};
}

}  // namespace hull::sandbox
