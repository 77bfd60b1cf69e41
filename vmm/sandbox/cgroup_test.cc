// Over a directory tree that looks like a host's; the kernel's own is what tests/e2e runs on.

#include "vmm/sandbox/cgroup.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::sandbox {
namespace {

using ::testing::HasSubstr;

constexpr CgroupLimits kLimits = {.memory_bytes = 1 << 20, .threads = 9, .processor_millis = 1500};

bool NoneInUse(absl::string_view) { return false; }

class CgroupTest : public ::testing::Test {
 protected:
  CgroupTest() {
    std::string pattern = ::testing::TempDir() + "/cgroup-XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    mount_ = pattern;
  }
  ~CgroupTest() override { std::filesystem::remove_all(mount_); }

  // A group as the kernel shows it.
  void Make(const std::string& group, const std::string& controllers) {
    const std::string path = mount_ + group;
    std::filesystem::create_directories(path);
    std::ofstream(path + "/cgroup.controllers") << controllers << "\n";
    std::ofstream(path + "/cgroup.procs") << "";
    std::ofstream(path + "/cgroup.subtree_control") << "";
  }
  CgroupHost Root() const { return {.mount = mount_, .root = true}; }
  CgroupHost User(const std::string& own) const {
    std::ofstream(mount_ + "/own") << own << "\n";
    return {.mount = mount_, .own = mount_ + "/own", .root = false};
  }
  std::string Read(const std::string& path) const {
    std::string text;
    std::getline(std::ifstream(mount_ + path), text);
    return text;
  }
  std::string Why(const CgroupHost& host) const {
    return std::string(FindCgroupBase(host).status().message());
  }

  std::string mount_;
};

TEST_F(CgroupTest, RootHasTheRootOfTheHierarchy) {
  Make("", "cpuset cpu io memory pids");
  EXPECT_EQ(*FindCgroupBase(Root()), mount_);
}

TEST_F(CgroupTest, AUserHasWhatSurroundsHisOwn) {
  Make("", "cpu memory pids");
  Make("/user.slice/app.slice/terminal", "cpu memory pids");
  Make("/user.slice/app.slice", "cpu memory pids");
  EXPECT_EQ(*FindCgroupBase(User("1:name=systemd:/x\n0::/user.slice/app.slice/terminal")),
            mount_ + "/user.slice/app.slice");
  EXPECT_THAT(Why(User("0::/nowhere/terminal")), HasSubstr("nothing is delegated to this user"));
}

TEST_F(CgroupTest, WhatAHostLacksIsNamedAndNoGroupIsMade) {
  EXPECT_THAT(Why(Root()), HasSubstr("version 2 is not mounted"));
  Make("", "cpu io");
  EXPECT_THAT(Why(Root()), HasSubstr("version 2 without memory, pids"));
  const auto made = Cgroup::Create(Root(), "name", kLimits, NoneInUse);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_FALSE(made->has_value());
  EXPECT_FALSE(std::filesystem::exists(mount_ + "/hull"));
}

// Here a new directory has none of the files that the kernel puts into a new group.
TEST_F(CgroupTest, ALimitThatCannotBeSetIsAnErrorAndNoGroupIsLeft) {
  Make("", "cpu memory pids");
  Make("/hull", "cpu memory pids");
  const auto made = Cgroup::Create(Root(), "name", kLimits, NoneInUse);
  ASSERT_FALSE(made.ok());
  EXPECT_THAT(std::string(made.status().message()), HasSubstr("memory.max"));
  EXPECT_FALSE(std::filesystem::exists(mount_ + "/hull/name"));
  // The parent's controllers were tried to turn on before that.
  EXPECT_THAT(Read("/cgroup.subtree_control"), HasSubstr("+memory"));
  EXPECT_THAT(Read("/hull/cgroup.subtree_control"), HasSubstr("+pids"));
}

TEST_F(CgroupTest, GroupsInWhichNobodyIsLeftAreRemoved) {
  Make("", "cpu memory pids");
  Make("/hull", "cpu memory pids");
  std::filesystem::create_directories(mount_ + "/hull/dead");
  std::filesystem::create_directories(mount_ + "/hull/starting");
  // As with one that has processes, rmdir(2) fails.
  std::filesystem::create_directories(mount_ + "/hull/busy/process");
  Cgroup::Create(Root(), "name", kLimits, [](absl::string_view name) { return name == "starting"; })
      .status()
      .IgnoreError();
  EXPECT_FALSE(std::filesystem::exists(mount_ + "/hull/dead"));
  EXPECT_TRUE(std::filesystem::exists(mount_ + "/hull/starting"));
  EXPECT_TRUE(std::filesystem::exists(mount_ + "/hull/busy"));
}

TEST(CgroupLimitsTest, AMachineHasRoomForWhatItNeeds) {
  const CgroupLimits limits = LimitsOfMachine(uint64_t{128} << 20, 2, 500);
  EXPECT_EQ(limits.memory_bytes, (uint64_t{128} + 16 + 64) << 20);
  EXPECT_EQ(limits.threads, 18u);
  EXPECT_EQ(limits.processor_millis, 500u);
}

}  // namespace
}  // namespace hull::sandbox
