#include "vmm/container/mounts.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::container {
namespace {

using testing::HasSubstr;

std::string ErrorOf(const absl::StatusOr<Mount>& mount) {
  return mount.ok() ? "none" : std::string(mount.status().message());
}

TEST(VolumeFlagTest, NameTargetAndOptions) {
  const absl::StatusOr<Mount> plain = ParseVolumeFlag("data:/var/lib/data");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->type, MountType::kVolume);
  EXPECT_EQ(plain->volume, "data");
  EXPECT_EQ(plain->target, "/var/lib/data");
  EXPECT_FALSE(plain->read_only);
  EXPECT_TRUE(plain->allow_exec);
  EXPECT_FALSE(plain->allow_suid);
  EXPECT_FALSE(plain->allow_devices);
  EXPECT_TRUE(plain->copy_image);
  const absl::StatusOr<Mount> all =
      ParseVolumeFlag("a.b-c_1://x/./y//:ro,noexec,nocopy,suid,dev,z");
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->target, "/x/y");
  EXPECT_TRUE(all->read_only);
  EXPECT_FALSE(all->allow_exec);
  EXPECT_TRUE(all->allow_suid);
  EXPECT_TRUE(all->allow_devices);
  EXPECT_FALSE(all->copy_image);
}

TEST(VolumeFlagTest, WithoutANameItIsTheContainersOwn) {
  EXPECT_EQ(ParseVolumeFlag("/data")->volume, "");
  const absl::StatusOr<Mount> options = ParseVolumeFlag("/data:ro");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->target, "/data");
  EXPECT_TRUE(options->read_only);
}

TEST(VolumeFlagTest, WhatIsNoVolume) {
  EXPECT_TRUE(absl::IsUnimplemented(ParseVolumeFlag("/host:/path").status()));
  EXPECT_TRUE(absl::IsUnimplemented(ParseVolumeFlag("./here:/path").status()));
  EXPECT_THAT(ErrorOf(ParseVolumeFlag("")), HasSubstr("absolute"));
  EXPECT_THAT(ErrorOf(ParseVolumeFlag("name")), HasSubstr("absolute"));
  EXPECT_THAT(ErrorOf(ParseVolumeFlag("name:path")), HasSubstr("[NAME:]/TARGET"));
  EXPECT_THAT(ErrorOf(ParseVolumeFlag("-n:/path")), HasSubstr("volume's name"));
  EXPECT_THAT(ErrorOf(ParseVolumeFlag(":/path")), HasSubstr("volume's name"));
  EXPECT_THAT(ErrorOf(ParseVolumeFlag("n:/")), HasSubstr("over the root"));
  EXPECT_THAT(ErrorOf(ParseVolumeFlag("n:/a/../b")), HasSubstr(".."));
  EXPECT_THAT(ErrorOf(ParseVolumeFlag("n:/p:rx")), HasSubstr("unknown option"));
  EXPECT_THAT(ErrorOf(ParseVolumeFlag("n:/p:ro:rw")), HasSubstr("too many parts"));
  EXPECT_THAT(ErrorOf(ParseVolumeFlag("n:/p:size=1m")), HasSubstr("unknown option"));
}

TEST(TmpfsFlagTest, Options) {
  const absl::StatusOr<Mount> plain = ParseTmpfsFlag("/tmp/x");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->type, MountType::kTmpfs);
  EXPECT_FALSE(plain->allow_exec);
  EXPECT_EQ(plain->tmpfs_bytes, 0u);
  EXPECT_EQ(plain->tmpfs_mode, 01777u);
  const absl::StatusOr<Mount> all = ParseTmpfsFlag("/t:size=64k,mode=0700,exec,ro,notmpcopyup");
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->tmpfs_bytes, 65536u);
  EXPECT_EQ(all->tmpfs_mode, 0700u);
  EXPECT_TRUE(all->allow_exec);
  EXPECT_TRUE(all->read_only);
  EXPECT_FALSE(all->copy_image);
  for (const char* bad :
       {"t", "/t:", "/t:mode=8", "/t:mode=17777", "/t:mode=", "/t:size=x", "/t:z"}) {
    EXPECT_FALSE(ParseTmpfsFlag(bad).ok()) << bad;
  }
}

TEST(MountFlagTest, Types) {
  const absl::StatusOr<Mount> volume = ParseMountFlag("type=volume,src=n,dst=/p,ro");
  ASSERT_TRUE(volume.ok()) << volume.status();
  EXPECT_EQ(*volume, *ParseVolumeFlag("n:/p:ro"));
  EXPECT_EQ(*ParseMountFlag("source=n,target=/p,readonly=false"), *ParseVolumeFlag("n:/p"));
  EXPECT_EQ(*ParseMountFlag("destination=/t,tmpfs-size=1m,type=tmpfs,tmpfs-mode=755"),
            *ParseTmpfsFlag("/t:size=1m,mode=755"));
  EXPECT_TRUE(absl::IsUnimplemented(ParseMountFlag("type=bind,src=/a,dst=/b").status()));
  for (const char* bad :
       {"", "type=volume", "type=other,dst=/p", "dst=/p,what=1", "dst=/p,ro=maybe",
        "type=tmpfs,dst=/p,src=n", "dst=/p,tmpfs-size=1m", "dst=p"}) {
    EXPECT_FALSE(ParseMountFlag(bad).ok()) << bad;
  }
}

TEST(ValidateMountsTest, WhatOneContainerCanHave) {
  EXPECT_TRUE(ValidateMounts({*ParseVolumeFlag("a:/a"), *ParseVolumeFlag("b:/b")}).ok());
  EXPECT_FALSE(ValidateMounts({*ParseVolumeFlag("a:/a"), *ParseVolumeFlag("a:/b")}).ok());
  EXPECT_FALSE(ValidateMounts({*ParseVolumeFlag("a:/a"), *ParseTmpfsFlag("/a")}).ok());
  std::vector<Mount> volumes;
  for (size_t i = 0; i <= kMaxVolumes; ++i) {
    EXPECT_TRUE(ValidateMounts(volumes).ok());
    volumes.push_back(*ParseVolumeFlag(absl::StrCat("v", i, ":/v", i)));
  }
  EXPECT_FALSE(ValidateMounts(volumes).ok());
  std::vector<Mount> others;
  for (size_t i = 0; i <= kMaxMounts; ++i) {
    EXPECT_TRUE(ValidateMounts(others).ok());
    others.push_back(*ParseTmpfsFlag(absl::StrCat("/t", i)));
  }
  EXPECT_FALSE(ValidateMounts(others).ok());
}

}  // namespace
}  // namespace hull::container
