#include "guest-agent/accounts.h"

#include <optional>

#include "guest-agent/text.h"

namespace hull::agent {
namespace {

constexpr uint64_t kMaxId = 0x7fffffff;

// Takes the part before the first `separator` off `*text`; all of it if there is none.
std::string_view TakeField(std::string_view* text, char separator) {
  const size_t at = text->find(separator);
  const std::string_view field = Prefix(*text, at);
  *text = at == std::string_view::npos ? std::string_view() : WithoutPrefix(*text, at + 1);
  return field;
}

// Decimal digits and nothing else. A number too large for an id is still a number: kMaxId + 1.
std::optional<uint64_t> ParseNumber(std::string_view text) {
  if (text.empty()) return std::nullopt;
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
    if (value > kMaxId) value = kMaxId + 1;
  }
  return value;
}

std::optional<uint32_t> ParseId(std::string_view text) {
  const std::optional<uint64_t> value = ParseNumber(text);
  if (!value || *value > kMaxId) return std::nullopt;
  return static_cast<uint32_t>(*value);
}

struct PasswdEntry {
  std::string_view name;
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::string_view home;
};

// name:password:uid:gid:comment:home:shell
std::optional<PasswdEntry> ParsePasswdLine(std::string_view line) {
  PasswdEntry entry;
  entry.name = TakeField(&line, ':');
  TakeField(&line, ':');
  const std::optional<uint32_t> uid = ParseId(TakeField(&line, ':'));
  const std::optional<uint32_t> gid = ParseId(TakeField(&line, ':'));
  TakeField(&line, ':');
  entry.home = TakeField(&line, ':');
  if (entry.name.empty() || !uid || !gid) return std::nullopt;
  entry.uid = *uid;
  entry.gid = *gid;
  return entry;
}

struct GroupEntry {
  std::string_view name;
  uint32_t gid = 0;
  std::string_view members;  // separated by commas
};

// name:password:gid:members
std::optional<GroupEntry> ParseGroupLine(std::string_view line) {
  GroupEntry entry;
  entry.name = TakeField(&line, ':');
  TakeField(&line, ':');
  const std::optional<uint32_t> gid = ParseId(TakeField(&line, ':'));
  entry.members = TakeField(&line, ':');
  if (entry.name.empty() || !gid) return std::nullopt;
  entry.gid = *gid;
  return entry;
}

bool HasMember(std::string_view members, std::string_view name) {
  while (!members.empty()) {
    if (TakeField(&members, ',') == name) return true;
  }
  return false;
}

std::optional<PasswdEntry> FindUser(std::string_view passwd, std::string_view user,
                                    std::optional<uint64_t> number) {
  while (!passwd.empty()) {
    const std::optional<PasswdEntry> entry = ParsePasswdLine(TakeField(&passwd, '\n'));
    if (entry && (entry->name == user || (number && entry->uid == *number))) return entry;
  }
  return std::nullopt;
}

std::optional<GroupEntry> FindGroup(std::string_view groups, std::string_view name) {
  while (!groups.empty()) {
    const std::optional<GroupEntry> entry = ParseGroupLine(TakeField(&groups, '\n'));
    if (entry && entry->name == name) return entry;
  }
  return std::nullopt;
}

}  // namespace

AccountResult ResolveUser(std::string_view user, std::string_view passwd, std::string_view group,
                          Identity* identity) {
  identity->uid = 0;
  identity->gid = 0;
  identity->group_count = 0;
  identity->home = "/";

  const std::string_view user_name = TakeField(&user, ':');
  const std::string_view group_name = user;
  const std::optional<uint64_t> user_number = user_name.empty() ? 0 : ParseNumber(user_name);

  const std::optional<PasswdEntry> entry = FindUser(passwd, user_name, user_number);
  if (entry) {
    identity->uid = entry->uid;
    identity->gid = entry->gid;
    if (!entry->home.empty()) identity->home = entry->home;
  } else {
    if (!user_number) return AccountResult::kNoSuchUser;
    if (*user_number > kMaxId) return AccountResult::kOutOfRange;
    identity->uid = static_cast<uint32_t>(*user_number);
  }

  if (!group_name.empty()) {
    const std::optional<uint64_t> group_number = ParseNumber(group_name);
    if (group_number) {
      if (*group_number > kMaxId) return AccountResult::kOutOfRange;
      identity->gid = static_cast<uint32_t>(*group_number);
      return AccountResult::kOk;
    }
    const std::optional<GroupEntry> found = FindGroup(group, group_name);
    if (!found) return AccountResult::kNoSuchGroup;
    identity->gid = found->gid;
    return AccountResult::kOk;
  }

  if (!entry) return AccountResult::kOk;
  while (!group.empty()) {
    const std::optional<GroupEntry> line = ParseGroupLine(TakeField(&group, '\n'));
    if (!line || !HasMember(line->members, entry->name)) continue;
    if (identity->group_count == kMaxGroups) return AccountResult::kTooManyGroups;
    identity->groups[identity->group_count++] = line->gid;
  }
  return AccountResult::kOk;
}

std::string_view FindUserName(std::string_view passwd, uint32_t uid) {
  const std::optional<PasswdEntry> entry = FindUser(passwd, "", uid);
  return entry ? entry->name : std::string_view();
}

}  // namespace hull::agent
