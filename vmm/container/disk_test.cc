#include "vmm/container/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "vmm/base/file_io.h"

namespace hull::container {
namespace {

constexpr uint64_t kSize = uint64_t{64} << 20;

class DiskTest : public testing::Test {
 protected:
  DiskTest() {
    std::string name = testing::TempDir() + "/disk-XXXXXX";
    directory_ = mkdtemp(name.data());
    maker_ = {.templates = directory_ + "/templates", .users_lock = directory_ + "/users.lock"};
  }
  ~DiskTest() override { std::filesystem::remove_all(directory_); }

  // What e2fsck, which changes nothing, makes of a disk: its exit status.
  static int Check(const std::string& path) {
    return std::system(("/sbin/e2fsck -f -n '" + path + "' >/dev/null 2>&1").c_str());
  }

  std::string directory_;
  DiskMaker maker_;
};

TEST_F(DiskTest, ADiskIsAWholeFileSystemThatCostsLittle) {
  const std::string path = directory_ + "/disk";
  const absl::Status made = MakeDisk(maker_, path, kSize);
  ASSERT_TRUE(made.ok()) << made;
  EXPECT_EQ(Check(path), 0);
  const absl::StatusOr<DiskUsage> usage = LookAtDisk(path);
  ASSERT_TRUE(usage.ok()) << usage.status();
  EXPECT_EQ(usage->size_bytes, kSize);
  EXPECT_GT(usage->allocated_bytes, 0u);
  EXPECT_LT(usage->allocated_bytes, uint64_t{1} << 20);
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_F(DiskTest, TheSecondOfASizeIsACopy) {
  ASSERT_TRUE(MakeDisk(maker_, directory_ + "/a", kSize).ok());
  // A template that cannot be made again: it is not.
  for (const auto& entry : std::filesystem::directory_iterator(maker_.templates)) {
    EXPECT_NE(entry.path().filename(), "unfinished");
    struct stat info;
    ASSERT_EQ(stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u) << entry.path();
  }
  ASSERT_TRUE(MakeDisk(maker_, directory_ + "/b", kSize).ok());
  const absl::StatusOr<std::string> a = ReadFile(directory_ + "/a", kSize);
  const absl::StatusOr<std::string> b = ReadFile(directory_ + "/b", kSize);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_TRUE(*a == *b);
  EXPECT_EQ(Check(directory_ + "/b"), 0);
}

TEST_F(DiskTest, WhatAKilledMakerLeftIsWrittenOver) {
  std::filesystem::create_directory(maker_.templates);
  ASSERT_TRUE(
      WriteFileAtomically(maker_.templates + "/unfinished", std::string(100000, 'x'), 0666).ok());
  ASSERT_TRUE(MakeDisk(maker_, directory_ + "/disk", kSize).ok());
  EXPECT_EQ(Check(directory_ + "/disk"), 0);
  EXPECT_FALSE(std::filesystem::exists(maker_.templates + "/unfinished"));
}

TEST_F(DiskTest, ADiskIsNotOverwritten) {
  const std::string path = directory_ + "/disk";
  ASSERT_TRUE(WriteFileAtomically(path, "mine", 0600).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(MakeDisk(maker_, path, kSize)));
  EXPECT_EQ(*ReadFile(path, 100), "mine");
}

TEST_F(DiskTest, WhatCannotBeAFileSystemIsToldAndLeavesNothing) {
  const absl::Status made = MakeDisk(maker_, directory_ + "/disk", 0);
  EXPECT_FALSE(made.ok());
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/disk"));
}

TEST_F(DiskTest, OneWritesOrSeveralRead) {
  const std::string path = directory_ + "/disk";
  ASSERT_TRUE(MakeDisk(maker_, path, kSize).ok());
  {
    const absl::StatusOr<UniqueFd> writer =
        OpenDisk(path, DiskAccess::kReadWrite, absl::ZeroDuration());
    ASSERT_TRUE(writer.ok()) << writer.status();
    EXPECT_TRUE(absl::IsFailedPrecondition(
        OpenDisk(path, DiskAccess::kReadWrite, absl::Milliseconds(50)).status()));
    EXPECT_TRUE(absl::IsFailedPrecondition(
        OpenDisk(path, DiskAccess::kReadOnly, absl::ZeroDuration()).status()));
  }
  const absl::StatusOr<UniqueFd> one = OpenDisk(path, DiskAccess::kReadOnly, absl::ZeroDuration());
  const absl::StatusOr<UniqueFd> two = OpenDisk(path, DiskAccess::kReadOnly, absl::ZeroDuration());
  EXPECT_TRUE(one.ok() && two.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      OpenDisk(path, DiskAccess::kReadWrite, absl::ZeroDuration()).status()));
  EXPECT_TRUE(absl::IsNotFound(
      OpenDisk(directory_ + "/none", DiskAccess::kReadOnly, absl::ZeroDuration()).status()));
}

}  // namespace
}  // namespace hull::container
