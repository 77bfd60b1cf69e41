#include "vmm/container/process.h"

#include <cstdlib>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/base/file_io.h"

namespace hull::container {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

images::ProcessConfig Image() {
  images::ProcessConfig image;
  image.entrypoint = {"/entry", "-e"};
  image.cmd = {"default", "args"};
  image.env = {"PATH=/bin", "COLOUR=blue"};
  image.user = "app";
  image.working_dir = "/work";
  return image;
}

absl::StatusOr<Process> Build(const images::ProcessConfig& image, const ProcessOptions& options) {
  return BuildProcess(image, options, "box", {"FROM_HOST=1"});
}

std::vector<std::string> Args(const ProcessOptions& options) {
  return Build(Image(), options)->args;
}

TEST(ProcessTest, TheImagesDefaults) {
  const absl::StatusOr<Process> process = Build(Image(), {});
  ASSERT_TRUE(process.ok());
  EXPECT_THAT(process->args, ElementsAre("/entry", "-e", "default", "args"));
  EXPECT_EQ(process->user, "app");
  EXPECT_EQ(process->working_directory, "/work");
  EXPECT_THAT(process->environment,
              ElementsAre("PATH=/bin", "container=hull", "HOSTNAME=box", "COLOUR=blue"));
  EXPECT_FALSE(process->attach_stdin);
}

TEST(ProcessTest, ACommandReplacesTheImagesCommand) {
  EXPECT_THAT(Args({.command = {"x", "--rm"}}), ElementsAre("/entry", "-e", "x", "--rm"));
}

TEST(ProcessTest, AnEntrypointGoesWithoutTheImagesCommand) {
  EXPECT_THAT(Args({.entrypoint = "/other"}), ElementsAre("/other"));
  EXPECT_THAT(Args({.entrypoint = "/other", .command = {"x"}}), ElementsAre("/other", "x"));
  EXPECT_THAT(Args({.entrypoint = R"(["/other", "two words"])", .command = {"x"}}),
              ElementsAre("/other", "two words", "x"));
  // Not JSON, so a name.
  EXPECT_THAT(Args({.entrypoint = "[x"}), ElementsAre("[x"));
  EXPECT_THAT(Args({.entrypoint = "[1]"}), ElementsAre("[1]"));
}

TEST(ProcessTest, AnEmptyEntrypointIsNone) {
  EXPECT_THAT(Args({.entrypoint = "", .command = {"x"}}), ElementsAre("x"));
  EXPECT_THAT(Args({.entrypoint = ""}), ElementsAre("default", "args"));
  images::ProcessConfig image = Image();
  image.entrypoint = {""};
  EXPECT_THAT(Build(image, {})->args, ElementsAre("default", "args"));
}

TEST(ProcessTest, NothingToRunIsAnError) {
  EXPECT_THAT(std::string(Build({}, {}).status().message()), HasSubstr("no command to run"));
  EXPECT_FALSE(Build({}, {.command = {""}}).ok());
  EXPECT_FALSE(Build({}, {.command = {"x", std::string("a\0b", 3)}}).ok());
}

TEST(ProcessTest, VariablesOfFilesYieldToThoseOfFlags) {
  const std::string path = std::string(getenv("TEST_TMPDIR")) + "/env";
  ASSERT_TRUE(WriteFileAtomically(path, "BOTH=file\nCOLOUR=green\nFROM_HOST\n", 0600).ok());
  const absl::StatusOr<Process> process =
      Build(Image(), {.env_files = {path}, .env = {"BOTH=flag", "NOT_HERE"}});
  ASSERT_TRUE(process.ok()) << process.status();
  EXPECT_THAT(process->environment, Contains("BOTH=flag"));
  EXPECT_THAT(process->environment, Contains("COLOUR=green"));
  EXPECT_THAT(process->environment, Contains("FROM_HOST=1"));
  EXPECT_THAT(process->environment, Not(Contains(HasSubstr("NOT_HERE"))));
}

TEST(ProcessTest, AMissingFileIsNamed) {
  EXPECT_THAT(std::string(Build(Image(), {.env_files = {"/no/such"}}).status().message()),
              HasSubstr("/no/such"));
}

TEST(ProcessTest, TheWorkingDirectoryIsAbsolute) {
  EXPECT_EQ(Build(Image(), {.working_directory = "/tmp"})->working_directory, "/tmp");
  EXPECT_THAT(std::string(Build(Image(), {.working_directory = "relative"}).status().message()),
              HasSubstr("\"relative\""));
}

TEST(ProcessTest, WithoutAPathThereIsADefaultOne) {
  images::ProcessConfig image;
  image.cmd = {"x"};
  EXPECT_THAT(Build(image, {})->environment, Contains(HasSubstr("PATH=/usr/local/sbin:")));
}

}  // namespace
}  // namespace hull::container
