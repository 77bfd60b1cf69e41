#include "images/image_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace hull::images {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr char kFull[] = R"({
  "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z",
  "config": {
    "Entrypoint": ["/bin/tini", "--"], "Cmd": ["sh", "-c", "echo"], "Env": ["A=1", "B="],
    "User": "app:100", "WorkingDir": "/srv", "StopSignal": "SIGINT", "Labels": {"k": "v"},
    "ExposedPorts": {"80/tcp": {}}
  },
  "rootfs": {"type": "layers", "diff_ids":
    ["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]}
})";

TEST(ImageConfigTest, EverythingIsRead) {
  const absl::StatusOr<ImageConfig> config = ParseImageConfig(kFull);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "amd64");
  EXPECT_EQ(config->os, "linux");
  EXPECT_EQ(config->created, "2026-01-02T03:04:05Z");
  EXPECT_EQ(config->diff_ids.size(), 1u);
  // Through the store's own form.
  const absl::StatusOr<ProcessConfig> process =
      ProcessConfigFromJson(ProcessConfigToJson(config->process));
  ASSERT_TRUE(process.ok()) << process.status();
  EXPECT_THAT(process->entrypoint, ElementsAre("/bin/tini", "--"));
  EXPECT_THAT(process->cmd, ElementsAre("sh", "-c", "echo"));
  EXPECT_THAT(process->env, ElementsAre("A=1", "B="));
  EXPECT_EQ(process->user, "app:100");
  EXPECT_EQ(process->working_dir, "/srv");
  EXPECT_EQ(process->stop_signal, "SIGINT");
  EXPECT_THAT(process->labels, ElementsAre(Pair("k", "v")));
}

TEST(ImageConfigTest, NullsAndAbsentMembersAreEmpty) {
  const absl::StatusOr<ImageConfig> config = ParseImageConfig(
      R"({"config": {"Entrypoint": null, "Env": null}, "rootfs": {"type": "layers"}})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->process.entrypoint.empty());
  EXPECT_TRUE(config->diff_ids.empty());
  EXPECT_TRUE(ParseImageConfig(R"({"config": null, "rootfs": {"type": "layers"}})").ok());
}

std::string Error(absl::string_view text) { return ParseImageConfig(text).status().ToString(); }

std::string ErrorWith(absl::string_view config) {
  return Error("{\"config\": " + std::string(config) + ", \"rootfs\": {\"type\": \"layers\"}}");
}

TEST(ImageConfigTest, WrongContentIsNamed) {
  EXPECT_THAT(Error(""), HasSubstr("not a JSON object"));
  EXPECT_THAT(Error("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(Error("{\"rootfs\": {\"type\": \"layers\"}"), HasSubstr("not a JSON object"));
  EXPECT_THAT(Error("{}"), HasSubstr("rootfs"));
  EXPECT_THAT(Error(R"({"rootfs": {"type": "zip"}})"), HasSubstr("rootfs.type"));
  EXPECT_THAT(Error(R"({"rootfs": {"type": "layers", "diff_ids": ["md5:1"]}})"),
              HasSubstr("not a digest"));
  EXPECT_THAT(ErrorWith("7"), HasSubstr("\"config\" is not an object"));
  EXPECT_THAT(ErrorWith(R"({"Cmd": "sh"})"), HasSubstr("\"Cmd\" is not a list"));
  EXPECT_THAT(ErrorWith(R"({"Cmd": [1]})"), HasSubstr("\"Cmd\" is not a list"));
  EXPECT_THAT(ErrorWith(R"({"Cmd": ["a\u0000b"]})"), HasSubstr("NUL"));
  EXPECT_THAT(ErrorWith(R"({"Env": ["PATH"]})"), HasSubstr("NAME=value"));
  EXPECT_THAT(ErrorWith(R"({"Env": ["=x"]})"), HasSubstr("NAME=value"));
  EXPECT_THAT(ErrorWith(R"({"WorkingDir": "srv"})"), HasSubstr("absolute"));
  EXPECT_THAT(ErrorWith(R"({"User": 0})"), HasSubstr("\"User\" is not a string"));
}

TEST(ImageConfigTest, SizeAndDepthAreBounded) {
  EXPECT_THAT(Error(std::string((size_t{4} << 20) + 1, ' ')), HasSubstr("larger than"));
  EXPECT_THAT(Error("{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}"),
              HasSubstr("nested deeper"));
  EXPECT_THAT(Error(std::string(size_t{4} << 20, '[')), HasSubstr("nested deeper"));
}

}  // namespace
}  // namespace hull::images
