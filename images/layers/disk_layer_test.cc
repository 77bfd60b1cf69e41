#include "images/layers/disk_layer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "images/oci/testing.h"
#include "vmm/base/unique_fd.h"

namespace hull::images {
namespace {

using ::testing::HasSubstr;
using testing::Sha256Of;
using testing::StringSource;

UniqueFd TemporaryFile() {
  std::string path = ::testing::TempDir() + "/disk-XXXXXX";
  UniqueFd fd(mkstemp(path.data()));
  EXPECT_TRUE(fd.valid());
  unlink(path.c_str());
  return fd;
}

std::string Content(const UniqueFd& fd) {
  struct stat info;
  EXPECT_EQ(fstat(fd.get(), &info), 0);
  std::string content(static_cast<size_t>(info.st_size), '\0');
  EXPECT_EQ(pread(fd.get(), content.data(), content.size(), 0),
            static_cast<ssize_t>(content.size()));
  return content;
}

void NoProgress(uint64_t) {}

// Packs a disk and unpacks it; what comes out.
struct Packed {
  PackedDisk disk;
  std::string blob;
};
Packed Pack(const std::string& content) {
  const UniqueFd disk = TemporaryFile();
  const UniqueFd blob = TemporaryFile();
  StringSource source(content);
  absl::StatusOr<PackedDisk> packed =
      PackDisk(source, content.size(), disk.get(), blob.get(), NoProgress);
  EXPECT_TRUE(packed.ok()) << packed.status();
  EXPECT_EQ(Content(disk), content);
  return {.disk = *std::move(packed), .blob = Content(blob)};
}

absl::StatusOr<std::string> Unpack(const Packed& packed, BootDevice boot,
                                   uint64_t max_data = kMaxDiskBytes) {
  const UniqueFd disk = TemporaryFile();
  StringSource source(packed.blob);
  const absl::StatusOr<uint64_t> bytes = UnpackDisk(source, packed.disk.layer, packed.disk.diff_id,
                                                    boot, max_data, disk.get(), NoProgress);
  if (!bytes.ok()) return bytes.status();
  std::string content = Content(disk);
  EXPECT_EQ(content.size(), *bytes);
  return content;
}

std::string SomeDisk() {
  std::string content(3 * 1024 * 1024, '\0');
  for (size_t i = 0; i < 10000; ++i) content[i * 7 % 70000] = static_cast<char>(i * i >> 3);
  content[content.size() - 1] = 'x';
  return content;
}

TEST(DiskLayerTest, WhatIsPackedComesOutAgain) {
  for (const std::string& content :
       {SomeDisk(), std::string(512, 'a'), std::string(1 << 20, '\0')}) {
    const Packed packed = Pack(content);
    EXPECT_EQ(packed.disk.diff_id, Sha256Of(content));
    EXPECT_EQ(packed.disk.layer.digest, Sha256Of(packed.blob));
    EXPECT_EQ(packed.disk.layer.size, packed.blob.size());
    const absl::StatusOr<std::string> out = Unpack(packed, BootDevice::kDisk);
    ASSERT_TRUE(out.ok()) << out.status();
    EXPECT_EQ(*out, content);
    EXPECT_EQ(Pack(content).blob, packed.blob) << "not the same every time";
  }
}

TEST(DiskLayerTest, ADiskThatLooksCompressedIsTakenAsItIs) {
  for (const char* filter : {"zstd", "gzip"}) {
    std::string content = testing::Compress(SomeDisk(), filter);
    content.resize((content.size() + 511) / 512 * 512);
    const absl::StatusOr<std::string> out = Unpack(Pack(content), BootDevice::kDisk);
    ASSERT_TRUE(out.ok()) << filter << ": " << out.status();
    EXPECT_EQ(*out, content);
  }
}

TEST(DiskLayerTest, ZerosAreHoles) {
  const UniqueFd disk = TemporaryFile();
  const UniqueFd blob = TemporaryFile();
  const std::string content = SomeDisk();
  StringSource source(content);
  ASSERT_TRUE(PackDisk(source, content.size(), disk.get(), blob.get(), NoProgress).ok());
  struct stat info;
  ASSERT_EQ(fstat(disk.get(), &info), 0);
  EXPECT_LT(info.st_blocks * 512, 1 << 20);
}

TEST(DiskLayerTest, AFileThatBecameShorterIsAnError) {
  const UniqueFd disk = TemporaryFile();
  const UniqueFd blob = TemporaryFile();
  StringSource source(std::string(1000, 'a'));
  EXPECT_TRUE(
      absl::IsDataLoss(PackDisk(source, 1024, disk.get(), blob.get(), NoProgress).status()));
}

TEST(DiskLayerTest, WrongBlobsAreRefused) {
  const Packed packed = Pack(SomeDisk());
  EXPECT_THAT(Unpack(packed, BootDevice::kFloppy).status().ToString(), HasSubstr("no diskette"));
  EXPECT_TRUE(absl::IsResourceExhausted(Unpack(packed, BootDevice::kDisk, 4096).status()));
  Packed other = Pack(SomeDisk());
  other.disk.diff_id = Sha256Of("something else");
  EXPECT_TRUE(absl::IsDataLoss(Unpack(other, BootDevice::kDisk).status()));
  other = Pack(SomeDisk());
  other.blob[other.blob.size() / 2] ^= 1;
  EXPECT_FALSE(Unpack(other, BootDevice::kDisk).ok());
  other = Pack(SomeDisk());
  other.blob.resize(other.blob.size() / 2);
  EXPECT_FALSE(Unpack(other, BootDevice::kDisk).ok());
  other = Pack(SomeDisk());
  other.blob = "no Zstandard at all";
  other.disk.layer.digest = Sha256Of(other.blob);
  other.disk.layer.size = other.blob.size();
  EXPECT_FALSE(Unpack(other, BootDevice::kDisk).ok());
  // Not a whole number of sectors.
  EXPECT_THAT(Unpack(Pack("abc"), BootDevice::kDisk).status().ToString(), HasSubstr("sectors"));
}

}  // namespace
}  // namespace hull::images
