#include "vmm/cli/container_changes.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace hull::cli {
namespace {

using namespace std::string_literals;

TEST(ContainerChangesTest, AreSortedAndTheContainersOwn) {
  const auto changes = ParseContainerChanges("C/etc\0A/etc/hosts\0A/b\0D/a\0C/run\0A/run/pid\0"s);
  ASSERT_TRUE(changes.ok()) << changes.status();
  EXPECT_EQ(RenderChanges(*changes), "D /a\nA /b\nC /etc\nA /run/pid\n");
  const auto json = nlohmann::json::parse(RenderChangesAsJson(*changes));
  EXPECT_EQ(json["added"], (nlohmann::json{"/b", "/run/pid"}));
  EXPECT_EQ(json["changed"], nlohmann::json{"/etc"});
  EXPECT_EQ(json["deleted"], nlohmann::json{"/a"});
  EXPECT_TRUE(ParseContainerChanges("")->empty());
}

TEST(ContainerChangesTest, AGuestThatLiesIsRefused) {
  for (const std::string& bad : {"X/a\0"s, "A\0"s, "Aa\0"s, "A/a"s, "\0"s}) {
    EXPECT_FALSE(ParseContainerChanges(bad).ok()) << bad;
  }
  EXPECT_EQ(RenderChanges({{.kind = 'A', .path = "/\x1b[2J"}}), "A /\\x1b[2J\n");
  EXPECT_THAT(RenderChangesAsJson({{.kind = 'A', .path = "/\xff"}}), testing::HasSubstr("added"));
}

}  // namespace
}  // namespace hull::cli
