#include "vmm/cli/completion.h"

#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Words = std::vector<std::string>;

constexpr char kGroup[] = R"(Manages boxes.

Usage: hull box VERB [ARG...]

  ls        List boxes (also: hull boxes)
  attach, stop,
  top, wait
            As without the word box
)";

Words BeginningWith(absl::string_view prefix, const Words& names) {
  Words some;
  for (const std::string& name : names) {
    if (name.substr(0, prefix.size()) == prefix) some.push_back(name);
  }
  return some;
}

// Verbs of the real kinds, with containers up (which runs), held (paused) and down.
class CompletionTest : public testing::Test {
 protected:
  Words Candidates(const Words& words) {
    return Complete(
        words, {.verbs = {"run", "stop", "start", "unpause", "kill", "rm", "cp", "tag", "volume"},
                .describe = [this](const Words& path) { return Describe(path); },
                .containers =
                    [](ContainerState state, absl::string_view prefix) {
                      const std::map<ContainerState, Words> names = {
                          {ContainerState::kAny, {"down", "held", "up"}},
                          {ContainerState::kAlive, {"held", "up"}},
                          {ContainerState::kRunning, {"up"}},
                          {ContainerState::kPaused, {"held"}},
                          {ContainerState::kNotRunning, {"down"}}};
                      return BeginningWith(prefix, names.at(state));
                    },
                .images =
                    [](absl::string_view prefix) {
                      return BeginningWith(prefix, {"busybox", "debian"});
                    },
                .volumes =
                    [](absl::string_view prefix) {
                      return BeginningWith(prefix, {"cache", "data"});
                    }});
  }

  std::vector<Words> described_;

 private:
  VerbDescription Describe(const Words& path) {
    described_.push_back(path);
    const std::vector<VerbDescription::Flag> flags = {{{"-h", "--help"}, false},
                                                      {{"-t", "--time"}, true},
                                                      {{"-a", "--all"}, false},
                                                      {{"-v", "--volume"}, true},
                                                      {{"--env-file"}, true}};
    const std::map<Words, Words> operands = {
        {{"run"}, {"IMAGE", "CMD", "ARG..."}}, {{"cp"}, {"CONTAINER:PATH", "PATH|-"}},
        {{"tag"}, {"IMAGE", "NAME..."}},       {{"volume", "rm"}, {"NAME..."}},
        {{"volume", "create"}, {"NAME"}},
    };
    if (path == Words{"volume"}) return {.verbs = {"create", "rm"}, .flags = {}, .operands = {}};
    const auto found = operands.find(path);
    return {.verbs = {},
            .flags = flags,
            .operands = found == operands.end() ? Words{"CONTAINER..."} : found->second};
  }
};

TEST_F(CompletionTest, VerbsAndThoseOfGroups) {
  EXPECT_THAT(Candidates({"st"}), ElementsAre("start", "stop"));
  EXPECT_THAT(Candidates({"volume", ""}), ElementsAre("create", "rm"));
  EXPECT_THAT(Candidates({"volume", "c"}), ElementsAre("create"));
}

TEST_F(CompletionTest, WhatIsNoVerbIsNotAskedForItsFlags) {
  EXPECT_THAT(Candidates({"monitor", "-"}), IsEmpty());
  EXPECT_THAT(described_, IsEmpty());
  EXPECT_THAT(Candidates({"volume", "explode", "-"}), IsEmpty());
  EXPECT_THAT(described_, ElementsAre(Words{"volume"}));
}

TEST_F(CompletionTest, FlagsWhereTheyCanBe) {
  EXPECT_THAT(Candidates({"stop", "--a"}), ElementsAre("--all"));
  EXPECT_THAT(Candidates({"stop", "up", "-a"}), ElementsAre("-a"));
  EXPECT_THAT(Candidates({"stop", "--", "-"}), IsEmpty());
  EXPECT_THAT(Candidates({"run", "busybox", "-"}), IsEmpty());
}

TEST_F(CompletionTest, ContainersInTheStateThatTheVerbNeeds) {
  EXPECT_THAT(Candidates({"stop", ""}), ElementsAre("up"));
  EXPECT_THAT(Candidates({"start", ""}), ElementsAre("down"));
  EXPECT_THAT(Candidates({"unpause", ""}), ElementsAre("held"));
  EXPECT_THAT(Candidates({"kill", ""}), ElementsAre("held", "up"));
  EXPECT_THAT(Candidates({"rm", "up", ""}), ElementsAre("down", "held", "up"));
  EXPECT_THAT(Candidates({"rm", "d"}), ElementsAre("down"));
}

TEST_F(CompletionTest, TheValueOfAFlagIsNoOperand) {
  EXPECT_THAT(Candidates({"run", "-t", ""}), IsEmpty());
  EXPECT_THAT(Candidates({"run", "-t", "5", "b"}), ElementsAre("busybox"));
  EXPECT_THAT(Candidates({"run", "-at", "5", "b"}), ElementsAre("busybox"));
  EXPECT_THAT(Candidates({"run", "-t5", "b"}), ElementsAre("busybox"));
  EXPECT_THAT(Candidates({"run", "--time=5", "b"}), ElementsAre("busybox"));
  EXPECT_THAT(Candidates({"run", "--env-file", ""}), ElementsAre(":files"));
}

TEST_F(CompletionTest, Images) {
  EXPECT_THAT(Candidates({"run", ""}), ElementsAre("busybox", "debian"));
  EXPECT_THAT(Candidates({"run", "busybox", ""}), IsEmpty());
  EXPECT_THAT(Candidates({"tag", "d"}), ElementsAre("debian"));
  EXPECT_THAT(Candidates({"tag", "debian", ""}), IsEmpty());
}

TEST_F(CompletionTest, Volumes) {
  EXPECT_THAT(Candidates({"volume", "rm", "d"}), ElementsAre("data"));
  EXPECT_THAT(Candidates({"volume", "create", ""}), IsEmpty());
  EXPECT_THAT(Candidates({"run", "-v", "c"}), ElementsAre("cache:"));
  EXPECT_THAT(Candidates({"run", "--volume=c"}), ElementsAre("--volume=cache:"));
  EXPECT_THAT(Candidates({"run", "-v", "cache:/"}), IsEmpty());
}

TEST_F(CompletionTest, BothEndsOfACopy) {
  EXPECT_THAT(Candidates({"cp", ""}), ElementsAre(":files", "up:"));
  EXPECT_THAT(Candidates({"cp", "file", "u"}), ElementsAre(":files", "up:"));
  EXPECT_THAT(Candidates({"cp", "up:/e"}), IsEmpty());
  EXPECT_THAT(Candidates({"cp", "a", "up:/b", ""}), IsEmpty());
}

TEST(ParseDescriptionTest, AVerbAsItDescribesItself) {
  CLI::App app("Stops.", "stop");
  bool all = false;
  std::string time;
  std::vector<std::string> names;
  app.add_flag("-a,--all", all, "All");
  app.add_option("-t,--time", time, "Seconds")->group("");
  app.add_option("CONTAINER", names, "Name");
  const VerbDescription verb = ParseDescription({"stop"}, DescribeVerb(app));
  EXPECT_THAT(verb.verbs, IsEmpty());
  ASSERT_EQ(verb.flags.size(), 3u);
  EXPECT_THAT(verb.flags[0].names, ElementsAre("-h", "--help"));
  EXPECT_THAT(verb.flags[1].names, ElementsAre("-a", "--all"));
  EXPECT_FALSE(verb.flags[1].takes_value);
  EXPECT_THAT(verb.flags[2].names, ElementsAre("-t", "--time"));
  EXPECT_TRUE(verb.flags[2].takes_value);
}

TEST(ParseDescriptionTest, AGroup) {
  EXPECT_THAT(ParseDescription({"box"}, kGroup).verbs,
              ElementsAre("ls", "attach", "stop", "top", "wait"));
  EXPECT_THAT(
      ParseDescription({"host"}, "usage: hull host start|stop\n       hull host shell [-c]").verbs,
      ElementsAre("start", "stop", "shell"));
}

TEST(ParseDescriptionTest, WordsAboutAVerbAreNotItsUsage) {
  const VerbDescription verb = ParseDescription(
      {"login"}, "Usage: hull login REGISTRY\n  --get-login   Print whom hull login has\n");
  EXPECT_THAT(verb.verbs, IsEmpty());
  EXPECT_THAT(verb.operands, ElementsAre("REGISTRY"));
}

TEST(ParseDescriptionTest, AVerbOfAGroupUnderItsOtherName) {
  EXPECT_THAT(ParseDescription({"image", "rm"}, "Usage: hull rmi [FLAG...] IMAGE...").operands,
              ElementsAre("IMAGE..."));
  EXPECT_THAT(ParseDescription({"system", "info"}, "Usage: hull info").operands, IsEmpty());
}

TEST(ParseDescriptionTest, Operands) {
  const auto operands = [](const std::string& usage) {
    return ParseDescription({"x"}, "Usage: hull x " + usage + "\n").operands;
  };
  EXPECT_THAT(operands("[FLAG...] IMAGE [CMD [ARG...]]"), ElementsAre("IMAGE", "CMD", "ARG..."));
  EXPECT_THAT(operands("[-a [-i]] CONTAINER..."), ElementsAre("CONTAINER..."));
  EXPECT_THAT(operands("IMAGE [NAME[:TAG]...]"), ElementsAre("IMAGE", "NAME..."));
  EXPECT_THAT(operands("-f CONTAINER|IMAGE..."), ElementsAre("CONTAINER|IMAGE..."));
  EXPECT_THAT(operands("[-a=B] CONTAINER:PATH PATH|-  or  x PATH"),
              ElementsAre("CONTAINER:PATH", "PATH|-"));
  EXPECT_THAT(operands("[[["), IsEmpty());
}

TEST(ImageNameForTest, TheShortestThatBeginsSo) {
  constexpr char kBusybox[] = "docker.io/library/busybox";
  EXPECT_EQ(ImageNameFor(kBusybox, "latest", ""), "busybox");
  EXPECT_EQ(ImageNameFor(kBusybox, "latest", "busybox:"), "busybox:latest");
  EXPECT_EQ(ImageNameFor(kBusybox, "1.36", "b"), "busybox:1.36");
  EXPECT_EQ(ImageNameFor(kBusybox, "latest", "docker"), kBusybox);
  EXPECT_EQ(ImageNameFor("localhost/app", "v1", ""), "app:v1");
  EXPECT_EQ(ImageNameFor("quay.io/a/b", "latest", ""), "quay.io/a/b");
  EXPECT_EQ(ImageNameFor(kBusybox, "latest", "x"), "");
}

}  // namespace
}  // namespace hull::cli
