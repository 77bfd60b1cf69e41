#include "vmm/container/names.h"

#include <string>

#include "gtest/gtest.h"

namespace hull::container {
namespace {

TEST(NamesTest, IdsAreDistinctAndWellFormed) {
  const std::string a = *NewId();
  const std::string b = *NewId();
  EXPECT_TRUE(IsId(a));
  EXPECT_NE(a, b);
  EXPECT_EQ(ShortId(a), a.substr(0, 12));
  EXPECT_FALSE(IsId(a.substr(1)));
  EXPECT_FALSE(IsId(std::string(64, 'A')));
  EXPECT_FALSE(IsId(std::string(63, 'a') + "/"));
}

TEST(NamesTest, NamesFollowPodmansRule) {
  for (const char* name : {"a", "web-1", "A_b.C", "0"})
    EXPECT_TRUE(ValidateName(name).ok()) << name;
  for (const char* name : {"", "-x", ".", "..", "_x", "a/b", "a b", "\xc3\xbc", "a\n"}) {
    EXPECT_FALSE(ValidateName(name).ok()) << name;
  }
  EXPECT_TRUE(ValidateName(std::string(128, 'x')).ok());
  EXPECT_FALSE(ValidateName(std::string(129, 'x')).ok());
}

TEST(NamesTest, HostnamesFollowRfc1123) {
  for (const char* name : {"a", "box7", "a-b.example"})
    EXPECT_TRUE(ValidateHostname(name).ok()) << name;
  for (const char* name : {"", "-a", "a-", ".a", "a_b", "a b", "a\n"}) {
    EXPECT_FALSE(ValidateHostname(name).ok()) << name;
  }
  EXPECT_TRUE(ValidateHostname(std::string(63, 'x')).ok());
  EXPECT_FALSE(ValidateHostname(std::string(64, 'x')).ok());
}

}  // namespace
}  // namespace hull::container
