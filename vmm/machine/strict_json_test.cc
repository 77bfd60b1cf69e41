#include "vmm/machine/strict_json.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(const std::string& text) {
  const auto value = ParseStrictJson(text);
  EXPECT_TRUE(absl::IsInvalidArgument(value.status())) << text;
  return std::string(value.status().message());
}

TEST(StrictJsonTest, EveryKindOfValue) {
  const std::string text =
      R"({"a":[1,-2,3.5,true,false,null,"s\u00e9"],"b":{"c":{}},"d":18446744073709551615})";
  const auto value = ParseStrictJson(text);
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(*value, nlohmann::json::parse(text));
}

TEST(StrictJsonTest, SyntaxErrorsSayWhere) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("byte 1"));
  EXPECT_THAT(ErrorOf(R"({"a":1,})"), HasSubstr("byte 8"));
  EXPECT_THAT(ErrorOf(R"({"a":1} x)"), HasSubstr("byte 9"));
  EXPECT_THAT(ErrorOf("{\"a\":\"\xff\"}"), HasSubstr("syntax error"));
  EXPECT_THAT(ErrorOf("[1e999]"), HasSubstr("syntax error"));
}

TEST(StrictJsonTest, AKeyOccursOnce) {
  EXPECT_THAT(ErrorOf(R"({"a":1,"b":2,"a":3})"), HasSubstr("\"a\" occurs twice"));
  EXPECT_TRUE(ParseStrictJson(R"({"a":{"a":1},"b":{"a":2}})").ok());
}

TEST(StrictJsonTest, NestingIsBounded) {
  EXPECT_TRUE(ParseStrictJson(std::string(16, '[') + std::string(16, ']')).ok());
  EXPECT_THAT(ErrorOf(std::string(17, '[') + std::string(17, ']')), HasSubstr("16 levels"));
  EXPECT_THAT(ErrorOf(std::string(1000000, '[')), HasSubstr("16 levels"));
}

}  // namespace
}  // namespace hull
