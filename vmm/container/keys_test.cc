#include "vmm/container/keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hull::container {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<KeyStroke> Keys(absl::string_view text) {
  const absl::StatusOr<std::vector<KeyStroke>> keys = ParseKeys(text);
  EXPECT_TRUE(keys.ok()) << keys.status();
  return keys.value_or(std::vector<KeyStroke>());
}

std::string Refused(absl::string_view text) {
  const absl::Status status = ParseKeys(text).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(status.message());
}

TEST(KeysTest, CharactersAreThoseOfAUsKeyboard) {
  EXPECT_THAT(Keys("a1"), ElementsAre(ElementsAre(0x1e, 0x9e), ElementsAre(0x02, 0x82)));
  EXPECT_THAT(Keys("A:"), ElementsAre(ElementsAre(0x2a, 0x1e, 0x9e, 0xaa),
                                      ElementsAre(0x2a, 0x27, 0xa7, 0xaa)));
  EXPECT_THAT(Keys("\\/`"), ElementsAre(ElementsAre(0x2b, 0xab), ElementsAre(0x35, 0xb5),
                                        ElementsAre(0x29, 0xa9)));
  EXPECT_THAT(Keys("\n \t"), ElementsAre(ElementsAre(0x1c, 0x9c), ElementsAre(0x39, 0xb9),
                                         ElementsAre(0x0f, 0x8f)));
  // Each character that can be typed has a key of its own.
  for (char c = ' '; c < 0x7f; ++c) {
    if (c == '{' || c == '}') continue;
    EXPECT_EQ(Keys(std::string(1, c)).size(), 1u) << c;
  }
}

TEST(KeysTest, NamedKeysAndModifiers) {
  EXPECT_THAT(Keys("{enter}{F1}"), ElementsAre(ElementsAre(0x1c, 0x9c), ElementsAre(0x3b, 0xbb)));
  EXPECT_THAT(Keys("{up}"), ElementsAre(ElementsAre(0xe0, 0x48, 0xe0, 0xc8)));
  EXPECT_THAT(Keys("{alt+f4}"), ElementsAre(ElementsAre(0x38, 0x3e, 0xbe, 0xb8)));
  EXPECT_THAT(Keys("{ctrl+alt+del}"),
              ElementsAre(ElementsAre(0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d)));
  EXPECT_THAT(Keys("{ctrl+c}"), ElementsAre(ElementsAre(0x1d, 0x2e, 0xae, 0x9d)));
  EXPECT_THAT(Keys("{alt+A}"), ElementsAre(ElementsAre(0x38, 0x2a, 0x1e, 0x9e, 0xaa, 0xb8)));
  EXPECT_THAT(Keys("{ctrl++}"), ElementsAre(ElementsAre(0x1d, 0x2a, 0x0d, 0x8d, 0xaa, 0x9d)));
  EXPECT_THAT(Keys("{shift}"), ElementsAre(ElementsAre(0x2a, 0xaa)));
  EXPECT_THAT(Keys("{{}{}}"), ElementsAre(ElementsAre(0x2a, 0x1a, 0x9a, 0xaa),
                                          ElementsAre(0x2a, 0x1b, 0x9b, 0xaa)));
}

TEST(KeysTest, ScanCodesAsTheyAre) {
  EXPECT_THAT(Keys("{0xe0}{0x48}"), ElementsAre(ElementsAre(0xe0), ElementsAre(0x48)));
}

TEST(KeysTest, WhatIsNoKeyIsRefusedWithItsPosition) {
  EXPECT_THAT(Refused("dir{entr}"), HasSubstr("position 4: there is no key {entr}"));
  EXPECT_THAT(Refused("{hyper+a}"), HasSubstr("{hyper+a}"));
  EXPECT_THAT(Refused("ab{enter"), HasSubstr("position 3"));
  EXPECT_THAT(Refused("}"), HasSubstr("position 1"));
  EXPECT_THAT(Refused("{}"), HasSubstr("position 1"));
  EXPECT_THAT(Refused("{alt+}"), HasSubstr("{alt+}"));
  EXPECT_THAT(Refused("{0x00}"), HasSubstr("{0x00}"));
  EXPECT_THAT(Refused("{0xzz}"), HasSubstr("{0xzz}"));
  EXPECT_THAT(Refused("x\xc3\xa4"), HasSubstr("position 2: there is no key for \"\\xc3\""));
  EXPECT_THAT(Refused("\x1b"), HasSubstr("\\x1b"));
  EXPECT_THAT(Refused(std::string(kMaxKeysText + 1, 'a')), HasSubstr("4096"));
  EXPECT_THAT(Refused("{" + std::string(100, 'a') + "}"), HasSubstr("position 1"));
}

TEST(KeysTest, HelpNamesTheKeys) { EXPECT_THAT(KeyNames(), HasSubstr("f12")); }

}  // namespace
}  // namespace hull::container
