#include "vmm/sandbox/user_range.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::sandbox {
namespace {

using ::testing::HasSubstr;

TEST(ParseUserRangeTest, Ranges) {
  const auto range = ParseUserRange("100000:65536");
  ASSERT_TRUE(range.ok()) << range.status();
  EXPECT_EQ(range->first, 100000u);
  EXPECT_EQ(range->count, 65536u);
  for (const char* bad : {"", ":", "1000", "1000:", ":5", "1000:0", "a:b", "1000:5:6", "-5:10",
                          "0:100", "999:2", "65534:1", "65000:600", "65535:1", "4294967295:1",
                          "4294967290:6", "5000000000:1", "1000:5000000000"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseUserRange(bad).status())) << bad;
  }
  EXPECT_TRUE(ParseUserRange("4294967290:5").ok());
}

class ClaimUserTest : public testing::Test {
 protected:
  ClaimUserTest() {
    char name[] = "/tmp/claims-XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/users";
  }
  ~ClaimUserTest() override {
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }
  std::string directory_;
  std::string path_;
};

TEST_F(ClaimUserTest, EachIsGivenOnceUntilTheRangeIsExhausted) {
  const UserRange range = {.first = 5000, .count = 40};
  std::vector<ClaimedUser> claimed;
  std::set<uid_t> users;
  for (int i = 0; i < 40; ++i) {
    absl::StatusOr<ClaimedUser> user = ClaimUser(range, path_);
    ASSERT_TRUE(user.ok()) << user.status();
    EXPECT_GE(user->user, 5000u);
    EXPECT_LT(user->user, 5040u);
    EXPECT_TRUE(users.insert(user->user).second) << user->user << " twice";
    claimed.push_back(*std::move(user));
  }
  const absl::Status full = ClaimUser(range, path_).status();
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  EXPECT_THAT(std::string(full.message()), HasSubstr("all 40 user ids from 5000 on are in use"));

  // Only the one that is let go of is free again.
  const uid_t freed = claimed[17].user;
  claimed.erase(claimed.begin() + 17);
  const absl::StatusOr<ClaimedUser> again = ClaimUser(range, path_);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->user, freed);
}

TEST_F(ClaimUserTest, AFileThatOthersMayWriteIsNotTrusted) {
  ASSERT_TRUE(ClaimUser(kDefaultUserRange, path_).ok());
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  const absl::Status status = ClaimUser(kDefaultUserRange, path_).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("can be written by others"));
}

TEST_F(ClaimUserTest, NeitherIsASymbolicLink) {
  ASSERT_EQ(symlink("/dev/null", path_.c_str()), 0);
  EXPECT_FALSE(ClaimUser(kDefaultUserRange, path_).ok());
}

}  // namespace
}  // namespace hull::sandbox
