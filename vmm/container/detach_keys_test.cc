#include "vmm/container/detach_keys.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::container {
namespace {

using testing::HasSubstr;

TEST(DetachKeysTest, TheDefaultSequence) {
  DetachKeys keys = *DetachKeys::Parse(kDefaultDetachKeys);
  EXPECT_EQ(keys.Filter("abc").bytes, "abc");
  const DetachKeys::Typed typed = keys.Filter("x\x10\x11y");
  EXPECT_EQ(typed.bytes, "x");
  EXPECT_TRUE(typed.detach);
}

TEST(DetachKeysTest, ASequenceMayComeInPieces) {
  DetachKeys keys = *DetachKeys::Parse("ctrl-p,ctrl-q");
  EXPECT_EQ(keys.Filter("\x10").bytes, "") << "held back";
  EXPECT_TRUE(keys.Filter("\x11").detach);
  EXPECT_EQ(keys.Filter("\x10").bytes, "");
  const DetachKeys::Typed typed = keys.Filter("z");
  EXPECT_EQ(typed.bytes, "\x10z") << "it went on otherwise";
  EXPECT_FALSE(typed.detach);
}

TEST(DetachKeysTest, ASequenceThatBeginsAnewWithinItself) {
  DetachKeys keys = *DetachKeys::Parse("a,a,b");
  const DetachKeys::Typed typed = keys.Filter("aaab");
  EXPECT_EQ(typed.bytes, "a");
  EXPECT_TRUE(typed.detach);
  EXPECT_EQ(keys.Filter("aac").bytes, "aac");
}

TEST(DetachKeysTest, NoSequence) {
  DetachKeys keys = *DetachKeys::Parse("");
  const DetachKeys::Typed typed = keys.Filter("\x10\x11");
  EXPECT_EQ(typed.bytes, "\x10\x11");
  EXPECT_FALSE(typed.detach);
}

TEST(DetachKeysTest, KeysOfEachKind) {
  DetachKeys keys = *DetachKeys::Parse("x,CTRL-[,ctrl-@,ctrl-_");
  EXPECT_TRUE(keys.Filter(absl::string_view("x\x1b\0\x1f", 4)).detach);
  for (const char* text : {"ctrl-", "ctrl-1", "ab", ",", "ctrl-p,", "alt-x"}) {
    EXPECT_THAT(std::string(DetachKeys::Parse(text).status().message()), HasSubstr("is no key"))
        << text;
  }
}

}  // namespace
}  // namespace hull::container
