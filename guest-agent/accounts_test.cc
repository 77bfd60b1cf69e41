#include "guest-agent/accounts.h"

#include <span>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "# comment:x:9:9::/c:/bin/sh\n"
    "broken line\n"
    "nouid:x::5::/home/nouid:/bin/sh\n"
    "huge:x:4294967296:0::/huge:/bin/sh\n"
    "alice:x:1000:100:Alice:/home/alice:/bin/sh\n"
    "alice:x:1001:101:second:/home/second:/bin/sh\n"
    "1002:x:2002:200:numeric name:/home/numeric:/bin/sh\n"
    "homeless:x:1003:103";
constexpr std::string_view kGroup =
    "root:x:0:\n"
    "wheel:x:10:root,alice\n"
    "users:x:100:\n"
    "malice:x:666:alice2,xalice\n"
    "audio:x:29:bob,alice,carol\n"
    "bad:x:-1:alice\n"
    "last:x:77:alice";

struct Case {
  std::string_view user;
  uint32_t uid;
  uint32_t gid;
  std::string_view home;
};

std::span<const uint32_t> Groups(const Identity& identity) {
  return {identity.groups, identity.group_count};
}

TEST(AccountsTest, ResolvesUsersAndGroups) {
  for (const Case& c : {
           Case{"", 0, 0, "/root"},
           Case{"root", 0, 0, "/root"},
           Case{"0", 0, 0, "/root"},
           Case{"alice", 1000, 100, "/home/alice"},
           Case{"1000", 1000, 100, "/home/alice"},
           Case{"alice:wheel", 1000, 10, "/home/alice"},
           Case{"alice:4321", 1000, 4321, "/home/alice"},
           Case{"5000", 5000, 0, "/"},
           Case{"5000:wheel", 5000, 10, "/"},
           Case{"5000:6000", 5000, 6000, "/"},
           Case{":wheel", 0, 10, "/root"},
           Case{"1002", 2002, 200, "/home/numeric"},
           Case{"homeless", 1003, 103, "/"},
           Case{"2147483647", 2147483647, 0, "/"},
           Case{"007", 7, 0, "/"},
       }) {
    Identity identity;
    ASSERT_EQ(ResolveUser(c.user, kPasswd, kGroup, &identity), AccountResult::kOk) << c.user;
    EXPECT_EQ(identity.uid, c.uid) << c.user;
    EXPECT_EQ(identity.gid, c.gid) << c.user;
    EXPECT_EQ(identity.home, c.home) << c.user;
  }
}

TEST(AccountsTest, SupplementaryGroupsOnlyWithoutAnExplicitGroup) {
  Identity identity;
  ASSERT_EQ(ResolveUser("alice", kPasswd, kGroup, &identity), AccountResult::kOk);
  EXPECT_THAT(Groups(identity), ElementsAre(10, 29, 77));
  ASSERT_EQ(ResolveUser("1000", kPasswd, kGroup, &identity), AccountResult::kOk);
  EXPECT_THAT(Groups(identity), ElementsAre(10, 29, 77));
  ASSERT_EQ(ResolveUser("", kPasswd, kGroup, &identity), AccountResult::kOk);
  EXPECT_THAT(Groups(identity), ElementsAre(10));
  ASSERT_EQ(ResolveUser("alice:users", kPasswd, kGroup, &identity), AccountResult::kOk);
  EXPECT_THAT(Groups(identity), IsEmpty());
  ASSERT_EQ(ResolveUser("5000", kPasswd, kGroup, &identity), AccountResult::kOk);
  EXPECT_THAT(Groups(identity), IsEmpty());
}

TEST(AccountsTest, RefusesWhatIsNotThere) {
  Identity identity;
  for (std::string_view user :
       {"bob", "nouid", "huge", "alice ", "-1", "+1", "1e3", "broken line"}) {
    EXPECT_EQ(ResolveUser(user, kPasswd, kGroup, &identity), AccountResult::kNoSuchUser) << user;
  }
  for (std::string_view user : {"alice:nobody", "0:-1", "alice:bad", "alice:wheel:audio"}) {
    EXPECT_EQ(ResolveUser(user, kPasswd, kGroup, &identity), AccountResult::kNoSuchGroup) << user;
  }
  for (std::string_view user :
       {"2147483648", "4294967296", "18446744073709551616", "0:4294967295"}) {
    EXPECT_EQ(ResolveUser(user, kPasswd, kGroup, &identity), AccountResult::kOutOfRange) << user;
  }
}

TEST(AccountsTest, WorksWithoutFiles) {
  Identity identity;
  EXPECT_EQ(ResolveUser("", "", "", &identity), AccountResult::kOk);
  EXPECT_EQ(identity.uid, 0u);
  EXPECT_EQ(identity.home, "/");
  EXPECT_EQ(ResolveUser("12:34", "", "", &identity), AccountResult::kOk);
  EXPECT_EQ(identity.uid, 12u);
  EXPECT_EQ(identity.gid, 34u);
  EXPECT_EQ(ResolveUser("root", "", "", &identity), AccountResult::kNoSuchUser);
}

TEST(AccountsTest, GroupsAreBounded) {
  std::string group;
  for (size_t i = 0; i <= kMaxGroups; ++i) group += "g:x:" + std::to_string(i) + ":root\n";
  Identity identity;
  EXPECT_EQ(ResolveUser("", "root:x:0:0::/:", group, &identity), AccountResult::kTooManyGroups);
}

TEST(FindUserNameTest, TheFirstEntryWithTheUid) {
  constexpr std::string_view kText = "root:x:0:0::/:\nbroken\na:x:7:1::/:\nb:x:7:1::/:\n";
  EXPECT_EQ(FindUserName(kText, 0), "root");
  EXPECT_EQ(FindUserName(kText, 7), "a");
  EXPECT_EQ(FindUserName(kText, 8), "");
  EXPECT_EQ(FindUserName("", 0), "");
}

}  // namespace
}  // namespace hull::agent
