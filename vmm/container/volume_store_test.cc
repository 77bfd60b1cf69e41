#include "vmm/container/volume_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "gtest/gtest.h"

namespace hull::container {
namespace {

constexpr uint64_t kSize = uint64_t{64} << 20;

class VolumeStoreTest : public testing::Test {
 protected:
  VolumeStoreTest() {
    std::string name = testing::TempDir() + "/volumes-XXXXXX";
    root_ = mkdtemp(name.data());
  }
  ~VolumeStoreTest() override { std::filesystem::remove_all(root_); }

  VolumeStore Store() const {
    return VolumeStore(root_, {.templates = root_ + "/templates", .users_lock = root_ + "/users"});
  }
  static absl::StatusOr<bool> Unused() { return false; }

  std::string root_;
};

TEST_F(VolumeStoreTest, AVolumeComesAndGoes) {
  const VolumeStore store = Store();
  EXPECT_TRUE(store.List()->empty());
  ASSERT_TRUE(store.Create("b", kSize).ok());
  ASSERT_TRUE(store.Create("a", 2 * kSize).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(store.Create("a", kSize)));
  const absl::StatusOr<std::vector<Volume>> all = store.List();
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].name, "a");
  EXPECT_EQ((*all)[0].usage.size_bytes, 2 * kSize);
  EXPECT_EQ((*all)[1].name, "b");
  EXPECT_TRUE(
      absl::IsFailedPrecondition(store.Remove("a", []() -> absl::StatusOr<bool> { return true; })));
  EXPECT_TRUE(store.Remove("a", Unused).ok());
  EXPECT_TRUE(absl::IsNotFound(store.Remove("a", Unused)));
  EXPECT_TRUE(absl::IsNotFound(store.Look("a").status()));
  EXPECT_TRUE(absl::IsNotFound(store.Look("../users").status()));
}

TEST_F(VolumeStoreTest, AContainersVolumesAreMadeWhereTheyAreMissing) {
  const VolumeStore store = Store();
  ASSERT_TRUE(store.Create("old", kSize).ok());
  Config config;
  config.mounts = {*ParseVolumeFlag("old:/a"), *ParseTmpfsFlag("/t"), *ParseVolumeFlag("/own"),
                   *ParseVolumeFlag("new:/b")};
  ASSERT_TRUE(store.CreateFor(config, root_).ok());
  EXPECT_EQ(store.Look("old")->usage.size_bytes, kSize);
  EXPECT_TRUE(store.Look("new").ok());
  EXPECT_TRUE(std::filesystem::exists(OwnVolumePath(root_, 2)));
}

TEST_F(VolumeStoreTest, OneWritesOrSeveralRead) {
  ASSERT_TRUE(Store().Create("v", kSize).ok());
  const std::string path = VolumePath(root_, "v");
  const Mount reader = *ParseVolumeFlag("v:/v:ro");
  bool writable = true;
  absl::StatusOr<UniqueFd> one = OpenVolume(reader, path, &writable);
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_FALSE(writable);
  EXPECT_TRUE(OpenVolume(reader, path, &writable).ok());
  EXPECT_TRUE(absl::IsNotFound(OpenVolume(reader, root_ + "/none", &writable).status()));
  one->Reset();
  EXPECT_TRUE(OpenVolume(*ParseVolumeFlag("v:/v"), path, &writable).ok());
  EXPECT_TRUE(writable);
}

// As a machine that was killed leaves it: the guest's kernel replays the journal, and so has to
// write.
TEST_F(VolumeStoreTest, AReaderOfOneThatWasNotUnmountedHasItAlone) {
  ASSERT_TRUE(Store().Create("v", kSize).ok());
  const std::string path = VolumePath(root_, "v");
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
  uint8_t features = 0;
  ASSERT_EQ(pread(file, &features, 1, 1024 + 0x60), 1);
  features |= 4;
  ASSERT_EQ(pwrite(file, &features, 1, 1024 + 0x60), 1);
  close(file);
  bool writable = false;
  const absl::StatusOr<UniqueFd> disk = OpenVolume(*ParseVolumeFlag("v:/v:ro"), path, &writable);
  ASSERT_TRUE(disk.ok()) << disk.status();
  EXPECT_TRUE(writable);
  EXPECT_EQ(fcntl(disk->get(), F_GETFL) & O_ACCMODE, O_RDWR);
}

}  // namespace
}  // namespace hull::container
