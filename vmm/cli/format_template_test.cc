#include "vmm/cli/format_template.h"

#include "gtest/gtest.h"

namespace hull::cli {
namespace {

using nlohmann::json;

std::string Render(absl::string_view text, const json& value) {
  const absl::StatusOr<FormatTemplate> format = FormatTemplate::Parse(text);
  if (!format.ok()) return "no template";
  const absl::StatusOr<std::string> out = format->Render(value);
  return out.ok() ? *out : "no such field";
}

TEST(FormatTemplateTest, FieldsAndText) {
  const json value = {
      {"ID", "a1"}, {"State", {{"Running", true}, {"ExitCode", 3}}}, {"Names", {"x", "y"}}};
  EXPECT_EQ(Render("{{.ID}}", value), "a1");
  EXPECT_EQ(Render("<{{ .ID }}>\\t{{.State.ExitCode}}\\n", value), "<a1>\t3\n");
  EXPECT_EQ(Render("{{.State.Running}} {{.Names}}", value), "true [x y]");
  EXPECT_EQ(Render("{{json .Names}}", value), "[\"x\",\"y\"]");
  EXPECT_EQ(Render("{{json .}}", {{"a", 1}}), "{\"a\":1}");
  EXPECT_EQ(Render("no field", value), "no field");
  EXPECT_EQ(Render("", value), "");
}

TEST(FormatTemplateTest, WhatItDoesNotKnowIsRefused) {
  EXPECT_EQ(Render("{{.Nope}}", {{"ID", 1}}), "no such field");
  EXPECT_EQ(Render("{{.ID.Deeper}}", {{"ID", 1}}), "no such field");
  for (const char* text : {"{{", "{{.ID", "{{ID}}", "{{range .Names}}", "{{.A..B}}", "{{.A.}}",
                           "{{}}", "{{.A | upper}}"}) {
    EXPECT_EQ(Render(text, {{"ID", 1}}), "no template") << text;
  }
}

TEST(FormatTemplateTest, HeadingsAndColumns) {
  EXPECT_EQ(FormatTemplate::Parse("{{.Names}}\\t{{.State.ExitCode}}")->Heading(),
            "NAMES\tEXITCODE");
  EXPECT_EQ(AlignColumns({"A\tBBB\tC", "aaaa\tb\tc"}), "A     BBB  C\naaaa  b    c\n");
  EXPECT_EQ(AlignColumns({}), "");
}

}  // namespace
}  // namespace hull::cli
