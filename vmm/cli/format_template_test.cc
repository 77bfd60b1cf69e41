#include "vmm/cli/format_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hull::cli {
namespace {

using ::testing::HasSubstr;

const nlohmann::json& Object() {
  static const nlohmann::json& object =
      *new nlohmann::json{{"Name", "app"}, {"Size", 7}, {"Config", {{"Cmd", {"sh"}}}}};
  return object;
}

TEST(FormatTemplateTest, MembersAndText) {
  EXPECT_EQ(RenderTemplate("{{.Name}}", Object()).value(), "app");
  EXPECT_EQ(RenderTemplate("<{{ .Name }}:{{.Size}}>\\t|\\n", Object()).value(), "<app:7>\t|\n");
  EXPECT_EQ(RenderTemplate("{{.Config.Cmd}}", Object()).value(), R"(["sh"])");
  EXPECT_EQ(RenderTemplate("{{json .Name}}", Object()).value(), R"("app")");
  EXPECT_EQ(RenderTemplate("{{json .}}", Object()).value(), Object().dump());
  EXPECT_EQ(RenderTemplate("", Object()).value(), "");
}

TEST(FormatTemplateTest, MistakesAreNamed) {
  EXPECT_THAT(RenderTemplate("{{.Nothing}}", Object()).status().ToString(),
              HasSubstr("\"Nothing\""));
  EXPECT_THAT(RenderTemplate("{{.Name.Inner}}", Object()).status().ToString(), HasSubstr("Inner"));
  EXPECT_THAT(RenderTemplate("{{.Name", Object()).status().ToString(), HasSubstr("has no"));
  EXPECT_THAT(RenderTemplate("{{range .X}}", Object()).status().ToString(), HasSubstr("range"));
}

TEST(FormatTemplateTest, Tables) {
  EXPECT_EQ(RenderTable({{"A", "LONG", "C"}, {"aaa", "b", ""}}), "A    LONG  C\naaa  b\n");
  EXPECT_EQ(RenderTable({}), "");
}

}  // namespace
}  // namespace hull::cli
