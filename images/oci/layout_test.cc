#include "images/oci/layout.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "images/oci/testing.h"
#include "vmm/base/file_io.h"

namespace hull::images {
namespace {

using testing::Compress;
using testing::DockerArchive;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MakeTar;
using testing::Sha256Of;
using testing::TarOfFiles;
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

// The other two forms, each as a directory and as a tar file.
class OlderFormTest : public LayoutTest {
 protected:
  absl::StatusOr<std::unique_ptr<Layout>> OpenFiles(
      const std::map<std::string, std::string>& files) {
    const std::string path = directory_ + "/files";
    std::filesystem::remove_all(path);
    if (GetParam()) {
      EXPECT_TRUE(WriteFileAtomically(path, TarOfFiles(files), 0644).ok());
    } else {
      for (const auto& [name, content] : files) {
        std::filesystem::create_directories(std::filesystem::path(path + "/" + name).parent_path());
        EXPECT_TRUE(WriteFileAtomically(path + "/" + name, content, 0644).ok());
      }
    }
    return Layout::Open(UniqueFd::Open(path, O_RDONLY).value());
  }
};

TEST_P(OlderFormTest, DockerArchive) {
  const std::string other = MakeTar({{.path = "g", .data = "y"}});
  for (const char* filter : {"", "gzip", "zstd"}) {
    const absl::StatusOr<std::unique_ptr<Layout>> layout =
        OpenFiles(DockerArchive({Layer(), other}, {"busybox:1", "localhost/app:v1"}, filter));
    ASSERT_TRUE(layout.ok()) << layout.status();
    const absl::StatusOr<std::vector<ImageInLayout>> images = SelectImages(**layout);
    ASSERT_TRUE(images.ok()) << images.status();
    ASSERT_EQ(images->size(), 1u);
    EXPECT_THAT((*images)[0].names, ElementsAre("docker.io/library/busybox:1", "localhost/app:v1"));
    const std::string text = (*layout)->ReadBlob((*images)[0].manifest).value();
    const Manifest manifest = ParseManifest(text).value();
    EXPECT_TRUE((*layout)->ReadBlob(manifest.config).ok());
    ASSERT_EQ(manifest.layers.size(), 2u);
    const std::string stored = *filter == '\0' ? other : Compress(other, filter);
    EXPECT_EQ(manifest.layers[1].digest, Sha256Of(stored)) << filter;
    EXPECT_EQ(manifest.layers[1].size, stored.size());
    EXPECT_THAT(manifest.layers[1].media_type, ::testing::EndsWith(filter));
    EXPECT_TRUE((*layout)->OpenBlob(manifest.layers[1].digest).ok());
    EXPECT_TRUE(absl::IsNotFound((*layout)->OpenBlob(Sha256Of("nothing")).status()));
  }
}

TEST_P(OlderFormTest, BadDockerArchives) {
  const auto expect = [this](const std::string& name, const std::string& content,
                             const std::string& what) {
    std::map<std::string, std::string> files = DockerArchive({Layer()}, {"a"});
    if (content.empty()) {
      files.erase(name);
    } else {
      files[name] = content;
    }
    EXPECT_THAT(OpenFiles(files).status().ToString(), HasSubstr(what)) << name << content;
  };
  expect("manifest.json", "[{]", "not a JSON list");
  expect("manifest.json", R"([{"Config":"../x","Layers":[]}])", "component");
  expect("manifest.json", R"([{"Config":"config.json","Layers":[]}])", "0 layers");
  expect("config.json", "", "\"config.json\" is missing");
  expect("config.json", "[]", "not a JSON object");
  expect("config.json", std::string((4 << 20) + 1, ' '), "larger than");
  expect("0/layer.tar", "", "layer 1 of 1");
}

TEST_P(OlderFormTest, DirTransport) {
  TestLayout oci;
  const nlohmann::json descriptor = oci.AddImage({Layer()}, "");
  std::map<std::string, std::string> files = {{"version", "Directory Transport Version: 1.1\n"}};
  for (const auto& [path, content] : oci.files) {
    files[path == TestLayout::BlobPath(descriptor) ? "manifest.json"
                                                   : path.substr(path.rfind('/') + 1)] = content;
  }
  const absl::StatusOr<std::unique_ptr<Layout>> layout = OpenFiles(files);
  ASSERT_TRUE(layout.ok()) << layout.status();
  const ImageInLayout image = SelectImages(**layout)->front();
  // The manifest is the author's own, byte for byte.
  EXPECT_EQ(image.manifest.digest.ToString(), descriptor["digest"]);
  EXPECT_TRUE(image.names.empty());
  const Manifest manifest = ParseManifest((*layout)->ReadBlob(image.manifest).value()).value();
  EXPECT_TRUE((*layout)->ReadBlob(manifest.config).ok());
  files["manifest.json"] =
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json"})";
  EXPECT_THAT(OpenFiles(files).status().ToString(), HasSubstr("not the manifest of one image"));
}

INSTANTIATE_TEST_SUITE_P(DirectoryAndTar, OlderFormTest, ::testing::Bool());

TEST(LayoutKindTest, LinksWithinADockerArchiveAreFollowed) {
  const std::map<std::string, std::string> files = DockerArchive({Layer(), Layer()}, {"a"});
  const auto open = [&](const std::string& target, char type) {
    std::vector<testing::TarEntry> entries;
    for (const auto& [name, content] : files) {
      if (name == "1/layer.tar") {
        entries.push_back({.path = name, .type = type, .link = target});
      } else {
        entries.push_back({.path = name, .data = content});
      }
    }
    const std::string path = ::testing::TempDir() + "/linked.tar";
    EXPECT_TRUE(WriteFileAtomically(path, MakeTar(entries), 0644).ok());
    return Layout::Open(UniqueFd::Open(path, O_RDONLY).value()).status();
  };
  EXPECT_TRUE(open("../0/layer.tar", '2').ok());
  EXPECT_TRUE(open("0/layer.tar", '1').ok());
  EXPECT_THAT(open("../../../etc/passwd", '2').ToString(), HasSubstr("not a regular file"));
  EXPECT_THAT(open("/etc/passwd", '2').ToString(), HasSubstr("not a regular file"));
  EXPECT_THAT(open("layer.tar", '2').ToString(), HasSubstr("more than 8 links"));
  EXPECT_THAT(open("../nothing", '2').ToString(), HasSubstr("missing"));
}

TEST(LayoutKindTest, OtherArchivesAreRefused) {
  const std::string path = ::testing::TempDir() + "/other.tar";
  ASSERT_TRUE(WriteFileAtomically(path, MakeTar({{.path = "x", .data = "y"}}), 0644).ok());
  EXPECT_THAT(Layout::Open(UniqueFd::Open(path, O_RDONLY).value()).status().ToString(),
              HasSubstr("there are no images here"));
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
