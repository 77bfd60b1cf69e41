#include "images/oci/layout.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "images/oci/testing.h"
#include "vmm/base/file_io.h"

namespace hull::images {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MakeTar;
using testing::TestLayout;

// Every test runs on a directory and on a tar file.
class LayoutTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/layout-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  absl::StatusOr<std::unique_ptr<Layout>> Open(const TestLayout& layout) {
    const std::string path = directory_ + "/layout";
    if (GetParam()) {
      if (absl::Status status = WriteFileAtomically(path, layout.ToTar(), 0644); !status.ok()) {
        return status;
      }
    } else {
      layout.WriteDirectory(path);
    }
    return Layout::Open(UniqueFd::Open(path, O_RDONLY).value());
  }

  absl::StatusOr<std::vector<ImageInLayout>> Select(const TestLayout& layout) {
    absl::StatusOr<std::unique_ptr<Layout>> opened = Open(layout);
    if (!opened.ok()) return opened.status();
    return SelectImages(**opened);
  }

  std::string directory_;
};

const std::string& Layer() {
  static const std::string& layer = *new std::string(MakeTar({{.path = "f", .data = "x"}}));
  return layer;
}

TEST_P(LayoutTest, NamedImagesAreListedOnceEach) {
  TestLayout layout;
  layout.AddImage({Layer()}, "one");
  layout.AddImage({Layer()}, "two");  // the same image
  layout.AddImage({Layer(), Layer()}, "");
  const absl::StatusOr<std::vector<ImageInLayout>> images = Select(layout);
  ASSERT_TRUE(images.ok()) << images.status();
  ASSERT_EQ(images->size(), 2u);
  EXPECT_THAT((*images)[0].names, ElementsAre("one", "two"));
  EXPECT_TRUE((*images)[1].names.empty());
}

TEST_P(LayoutTest, NestedIndexGivesThisPlatform) {
  TestLayout inner;
  nlohmann::json arm = inner.AddImage({Layer()}, "");
  nlohmann::json amd = inner.AddImage({Layer(), Layer()}, "");
  arm["platform"] = {{"os", "linux"}, {"architecture", "arm64"}};
  amd["platform"] = {{"os", "linux"}, {"architecture", "amd64"}};
  TestLayout layout;
  layout.files = inner.files;
  const nlohmann::json index = {{"schemaVersion", 2}, {"manifests", {arm, amd}}};
  nlohmann::json descriptor =
      layout.AddBlob("application/vnd.oci.image.index.v1+json", index.dump());
  descriptor["annotations"] = {{"org.opencontainers.image.ref.name", "multi"}};
  layout.index = {{"schemaVersion", 2}, {"manifests", {descriptor}}};
  const absl::StatusOr<std::vector<ImageInLayout>> images = Select(layout);
  ASSERT_TRUE(images.ok()) << images.status();
  ASSERT_EQ(images->size(), 1u);
  EXPECT_EQ((*images)[0].manifest.digest.ToString(), amd["digest"]);
  EXPECT_THAT((*images)[0].names, ElementsAre("multi"));
}

TEST_P(LayoutTest, OtherPlatformsAreNamed) {
  TestLayout layout;
  layout.AddImage({Layer()}, "x");
  layout.index["manifests"][0]["platform"] = {{"os", "linux"}, {"architecture", "arm64"}};
  const absl::Status status = Select(layout).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(status.ToString(), HasSubstr("linux/arm64"));
}

TEST_P(LayoutTest, IndexesWithoutEndAreRefused) {
  TestLayout layout;
  nlohmann::json descriptor = layout.AddImage({Layer()}, "");
  for (int i = 0; i < 6; ++i) {
    const nlohmann::json index = {{"schemaVersion", 2}, {"manifests", {descriptor}}};
    descriptor = layout.AddBlob("application/vnd.oci.image.index.v1+json", index.dump());
  }
  layout.index["manifests"] = {descriptor};
  EXPECT_THAT(Select(layout).status().ToString(), HasSubstr("nested deeper"));
}

TEST_P(LayoutTest, WhatIsNotALayoutIsRefused) {
  TestLayout layout;
  layout.AddImage({Layer()}, "x");
  layout.files["oci-layout"] = R"({"imageLayoutVersion":"2.0.0"})";
  EXPECT_THAT(Open(layout).status().ToString(), HasSubstr("imageLayoutVersion"));
}

TEST_P(LayoutTest, DamagedBlobsAreRefused) {
  TestLayout layout;
  const nlohmann::json json = layout.AddImage({Layer()}, "x");
  std::string& content = layout.files[TestLayout::BlobPath(json)];
  content[content.size() / 2] ^= 1;
  absl::StatusOr<std::unique_ptr<Layout>> opened = Open(layout);
  ASSERT_TRUE(opened.ok()) << opened.status();
  Descriptor descriptor = SelectImages(**opened)->front().manifest;
  EXPECT_THAT((*opened)->ReadBlob(descriptor).status().ToString(),
              HasSubstr("does not match its digest"));
  descriptor.size -= 1;
  EXPECT_THAT((*opened)->ReadBlob(descriptor).status().ToString(), HasSubstr("longer than"));
  descriptor.size += 2;
  EXPECT_THAT((*opened)->ReadBlob(descriptor).status().ToString(), HasSubstr("truncated"));
  descriptor.size = (4 << 20) + 1;
  EXPECT_THAT((*opened)->ReadBlob(descriptor).status().ToString(), HasSubstr("larger than"));
  descriptor.size = 7;
  descriptor.digest = testing::Sha256Of("nothing");
  EXPECT_TRUE(absl::IsNotFound((*opened)->ReadBlob(descriptor).status()));
}

INSTANTIATE_TEST_SUITE_P(DirectoryAndTar, LayoutTest, ::testing::Bool());

TEST(LayoutKindTest, OtherArchivesAreExplained) {
  const std::string path = ::testing::TempDir() + "/docker-archive.tar";
  ASSERT_TRUE(
      WriteFileAtomically(path, MakeTar({{.path = "manifest.json", .data = "[]"}}), 0644).ok());
  EXPECT_THAT(Layout::Open(UniqueFd::Open(path, O_RDONLY).value()).status().ToString(),
              HasSubstr("docker-archive"));
  ASSERT_TRUE(WriteFileAtomically(path, MakeTar({{.path = "x", .data = "y"}}), 0644).ok());
  EXPECT_THAT(Layout::Open(UniqueFd::Open(path, O_RDONLY).value()).status().ToString(),
              HasSubstr("no \"oci-layout\""));
  unlink(path.c_str());
}

TEST(LayoutKindTest, FifoInPlaceOfAFileDoesNotHang) {
  std::string directory = ::testing::TempDir() + "/fifo-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  ASSERT_EQ(mkfifo((directory + "/oci-layout").c_str(), 0600), 0);
  EXPECT_THAT(Layout::Open(UniqueFd::Open(directory, O_RDONLY).value()).status().ToString(),
              HasSubstr("not a regular file"));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace hull::images
