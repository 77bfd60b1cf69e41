#include "vmm/cli/run_flags.h"

#include <algorithm>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/cli/exec_flags.h"

namespace hull::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kHost = uint64_t{8} << 30;

absl::StatusOr<RunFlags> Parse(const std::vector<std::string>& args) {
  return ParseRunFlags("run", args, kHost);
}

std::string Error(const std::vector<std::string>& args) {
  const absl::StatusOr<RunFlags> flags = Parse(args);
  EXPECT_TRUE(absl::IsInvalidArgument(flags.status()));
  return std::string(flags.status().message());
}

TEST(RunFlagsTest, Defaults) {
  const absl::StatusOr<RunFlags> flags = Parse({"busybox"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_EQ(flags->image, "busybox");
  EXPECT_THAT(flags->command, IsEmpty());
  EXPECT_EQ(flags->cpus.count, 1u);
  EXPECT_EQ(flags->memory_bytes, uint64_t{128} << 20);
  EXPECT_FALSE(flags->remove || flags->interactive || flags->console || flags->read_only);
  EXPECT_FALSE(flags->entrypoint.has_value());
}

TEST(RunFlagsTest, ADisplay) {
  const absl::StatusOr<RunFlags> flags =
      Parse({"--display", "vnc=127.0.0.1:5901", "--display-password-file=secret", "dos"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_EQ(flags->display, (display::Address{.host = "127.0.0.1", .port = 5901}));
  EXPECT_EQ(flags->display_password_file, "secret");
  EXPECT_FALSE(Parse({"dos"})->display.has_value());
  EXPECT_TRUE(absl::IsInvalidArgument(Parse({"--display=gtk", "dos"}).status()));
}

TEST(RunFlagsTest, EveryFlag) {
  const absl::StatusOr<RunFlags> flags =
      Parse({"--rm", "--name",      "web",       "--cpus=2",     "--memory",   "64m",
             "-e",   "A=1",         "-eB=2",     "--env=C=",     "--env-file", "f",
             "-w",   "/w",          "-u=app",    "--entrypoint", "/e",         "--hostname",
             "box",  "--read-only", "--console", "-i",           "busybox",    "sh"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_TRUE(flags->remove && flags->read_only && flags->console && flags->interactive);
  EXPECT_EQ(flags->name, "web");
  EXPECT_EQ(flags->cpus.count, 2u);
  EXPECT_EQ(flags->memory_bytes, uint64_t{64} << 20);
  EXPECT_THAT(flags->env, ElementsAre("A=1", "B=2", "C="));
  EXPECT_THAT(flags->env_files, ElementsAre("f"));
  EXPECT_EQ(flags->working_directory, "/w");
  EXPECT_EQ(flags->user, "app");
  EXPECT_EQ(flags->entrypoint, "/e");
  EXPECT_EQ(flags->hostname, "box");
  EXPECT_THAT(flags->command, ElementsAre("sh"));
}

TEST(RunFlagsTest, WhatFollowsTheImageIsTheCommands) {
  EXPECT_THAT(Parse({"--rm", "busybox", "--rm", "-i", "--help"})->command,
              ElementsAre("--rm", "-i", "--help"));
  EXPECT_THAT(Parse({"busybox", "--", "x"})->command, ElementsAre("--", "x"));
  EXPECT_EQ(Parse({"--", "-image"})->image, "-image");
}

TEST(RunFlagsTest, ShortFlagsCombine) {
  const absl::StatusOr<RunFlags> flags = Parse({"-ite", "A=1", "busybox"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_TRUE(flags->interactive && flags->terminal);
  EXPECT_THAT(flags->env, ElementsAre("A=1"));
}

TEST(RunFlagsTest, ValuesMayBeEmptyOrLookLikeFlags) {
  EXPECT_EQ(Parse({"--entrypoint=", "busybox"})->entrypoint, "");
  EXPECT_EQ(Parse({"--entrypoint", "", "busybox"})->entrypoint, "");
  EXPECT_THAT(Parse({"-e", "-x=1", "busybox"})->env, ElementsAre("-x=1"));
  EXPECT_EQ(Parse({"-e", "--rm", "busybox"})->remove, false);
}

TEST(RunFlagsTest, MistakesAreNamed) {
  EXPECT_THAT(Error({}), HasSubstr("image"));
  EXPECT_THAT(Error({"--rm"}), HasSubstr("image"));
  EXPECT_THAT(Error({"--nosuchflag", "busybox"}), HasSubstr("--nosuchflag"));
  EXPECT_THAT(Error({"--nosuch=1", "busybox"}), HasSubstr("--nosuch"));
  EXPECT_THAT(Error({"-iz", "busybox"}), HasSubstr("-z"));
  EXPECT_THAT(Error({"--detach-keys=bogus", "busybox"}), HasSubstr("--detach-keys"));
  EXPECT_THAT(Error({"--name"}), HasSubstr("--name needs a value"));
  EXPECT_THAT(Error({"--name=", "busybox"}), HasSubstr("--name"));
  EXPECT_THAT(Error({"--memory", "-5m", "busybox"}), HasSubstr("--memory"));
  EXPECT_THAT(Error({"--memory=", "busybox"}), HasSubstr("--memory"));
  EXPECT_THAT(Error({"--memory", "10t", "busybox"}), HasSubstr("8192m"));
  EXPECT_THAT(Error({"--cpus", "0", "busybox"}), HasSubstr("--cpus"));
  EXPECT_THAT(Error({"--hostname", "a b", "busybox"}), HasSubstr("--hostname"));
  EXPECT_THAT(Error({"--rm=maybe", "busybox"}), HasSubstr("--rm"));
  EXPECT_THAT(Error({"--stop-signal", "NOSUCH", "busybox"}), HasSubstr("--stop-signal"));
  EXPECT_THAT(Error({"--stop-timeout", "-1", "busybox"}), HasSubstr("--stop-timeout"));
  EXPECT_THAT(Error({"--log-max-size", "1k", "busybox"}), HasSubstr("--log-max-size"));
  EXPECT_THAT(Error({"--pull", "often", "busybox"}), HasSubstr("--pull"));
  EXPECT_THAT(Error({"--storage-size", "1m", "busybox"}), HasSubstr("--storage-size"));
}

TEST(RunFlagsTest, MountsInTheOrderOfTheirDepth) {
  const absl::StatusOr<RunFlags> flags = Parse(
      {"-v", "a:/x/y", "--tmpfs", "/x", "--mount=type=volume,src=b,dst=/z", "-v/own", "busybox"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  std::vector<std::string> targets;
  for (const container::Mount& mount : flags->mounts) targets.push_back(mount.target);
  EXPECT_THAT(targets, ElementsAre("/own", "/z", "/x", "/x/y"));
  EXPECT_THAT(Error({"-v", "a:b", "busybox"}), HasSubstr("--volume"));
  EXPECT_THAT(Error({"-v", "a:/x", "--tmpfs", "/x", "busybox"}), HasSubstr("twice"));
}

TEST(RunFlagsTest, TheDiskForWhatIsWritten) {
  EXPECT_EQ(Parse({"busybox"})->storage_bytes, std::nullopt);
  EXPECT_EQ(Parse({"--storage-size", "0", "busybox"})->storage_bytes, 0u);
  EXPECT_EQ(Parse({"--storage-size=1.5g", "busybox"})->storage_bytes, uint64_t{3} << 29);
}

TEST(RunFlagsTest, TheFlagsOfALifeInTheBackground) {
  const absl::StatusOr<RunFlags> flags =
      Parse({"-d", "-l", "a=b", "--label=c", "--cidfile", "f", "--stop-signal", "usr1",
             "--stop-timeout", "3", "--log-max-size", "1m", "--pull=never", "busybox"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_TRUE(flags->detach);
  EXPECT_THAT(flags->labels, ElementsAre("a=b", "c"));
  EXPECT_EQ(flags->cidfile, "f");
  EXPECT_EQ(flags->stop_signal, 10u);
  EXPECT_EQ(flags->stop_timeout_seconds, 3u);
  EXPECT_EQ(flags->log_max_bytes, uint64_t{1} << 20);
  // What is made and not started has no foreground to leave.
  EXPECT_FALSE(ParseRunFlags("create", {"-d", "busybox"}, kHost).ok());
  EXPECT_TRUE(ParseRunFlags("create", {"-l", "a=b", "busybox"}, kHost).ok());
}

TEST(RunFlagsTest, HelpFitsAScreenAndListsEveryFlag) {
  for (const char* flag : {"-h", "--help"}) {
    const std::string help = Parse({flag})->help;
    for (const char* name : {"--rm",
                             "--name",
                             "--cpus",
                             "-m,--memory",
                             "-e,--env",
                             "--env-file",
                             "-w,--workdir",
                             "-u,--user",
                             "--entrypoint",
                             "--hostname",
                             "--read-only",
                             "--console",
                             "-i,--interactive",
                             "-t,--tty",
                             "-d,--detach",
                             "-l,--label",
                             "--cidfile",
                             "--stop-signal",
                             "--stop-timeout",
                             "--log-max-size",
                             "--storage-size",
                             "-v,--volume",
                             "--mount",
                             "--tmpfs",
                             "--display",
                             "--display-password-file",
                             "IMAGE [CMD [ARG...]]"}) {
      EXPECT_THAT(help, HasSubstr(name));
    }
    EXPECT_LE(std::count(help.begin(), help.end(), '\n'), 24);
    EXPECT_THAT(help, testing::Not(testing::ContainsRegex("[^\n]{81}")));
  }
}

TEST(ExecFlagsTest, EveryFlag) {
  const absl::StatusOr<ExecFlags> flags =
      ParseExecFlags({"-it", "-d", "-e", "A=1", "--env-file=f", "-w", "/w", "-u", "app",
                      "--detach-keys", "ctrl-a", "box", "sh", "-c", "-x"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_TRUE(flags->interactive && flags->terminal && flags->detach);
  EXPECT_THAT(flags->env, ElementsAre("A=1"));
  EXPECT_THAT(flags->env_files, ElementsAre("f"));
  EXPECT_EQ(flags->working_directory, "/w");
  EXPECT_EQ(flags->user, "app");
  EXPECT_EQ(flags->detach_keys.length(), 1u);
  EXPECT_EQ(flags->container, "box");
  EXPECT_THAT(flags->command, ElementsAre("sh", "-c", "-x"));
}

TEST(ExecFlagsTest, MistakesAreNamed) {
  const auto error = [](const std::vector<std::string>& args) {
    return std::string(ParseExecFlags(args).status().message());
  };
  EXPECT_THAT(error({}), HasSubstr("which container"));
  EXPECT_THAT(error({"box"}), HasSubstr("which command"));
  EXPECT_THAT(error({"--bogus", "box", "sh"}), HasSubstr("--bogus (see hull exec --help)"));
  EXPECT_THAT(error({"-w", "w", "box", "sh"}), HasSubstr("not an absolute path"));
  EXPECT_THAT(error({"--detach-keys", "bogus", "box", "sh"}), HasSubstr("is no key"));
}

}  // namespace
}  // namespace hull::cli
