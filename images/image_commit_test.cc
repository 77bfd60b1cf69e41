// Commits to the store, with the real hull-unpack (its path is the program's argument).

#include "images/image_commit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "images/bounded_json.h"
#include "images/oci/testing.h"
#include "vmm/base/file_io.h"

namespace hull::images {

UnpackProgram unpack_program;

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::MakeTar;
using testing::TestLayout;

class ImageCommitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/commit-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    store_.emplace(directory_ + "/images");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  static LoadOptions Options(const std::string& name = "") {
    LoadOptions options;
    options.unpack_program = unpack_program;
    options.name = name;
    return options;
  }
  Digest LoadParent(const std::string& compression) {
    TestLayout layout;
    layout.AddImage({MakeTar({{.path = "bin/sh", .data = "sh", .mode = 0755}}),
                     MakeTar({{.path = "gone", .data = std::string(700, 'g')}})},
                    "parent", compression, {{"Cmd", {"sh"}}, {"Env", {"PATH=/bin"}}});
    const std::string path = directory_ + "/layout.tar";
    EXPECT_TRUE(WriteFileAtomically(path, layout.ToTar(), 0644).ok());
    const auto loaded = store_->Load(path, Options());
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded->front().manifest;
  }
  absl::StatusOr<LoadedImage> Commit(const Digest& parent, const std::vector<std::string>& pieces,
                                     const CommitOptions& options) {
    absl::StatusOr<ImageCommit> commit = ImageCommit::Begin(*store_, parent);
    if (!commit.ok()) return commit.status();
    for (const std::string& piece : pieces) {
      const absl::Status added = commit->AddLayerBytes(piece);
      if (!added.ok()) return added;
    }
    return commit->Finish(options);
  }
  std::vector<std::string> Staged() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_ + "/images/staging")) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  std::string directory_;
  std::optional<Store> store_;
};

TEST_F(ImageCommitTest, AddsALayerToTheParents) {
  const std::string layer =
      MakeTar({{.path = "./new", .data = std::string(5000, 'n')}, {.path = "./.wh.gone"}});
  for (const char* compression : {"", "+gzip", "+zstd"}) {
    const Digest parent = LoadParent(compression);
    CommitOptions options = {.load = Options("child:1"), .created = "2026-01-02T03:04:05Z"};
    options.changes.push_back(*ParseConfigChange("CMD [\"ls\"]"));
    options.changes.push_back(*ParseConfigChange("ENV A=1"));
    options.author = "a";
    options.comment = "c";
    options.created_by = "sh -c x";
    const absl::StatusOr<LoadedImage> image =
        Commit(parent, {layer.substr(0, 1000), layer.substr(1000)}, options);
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_THAT(image->names, ElementsAre("localhost/child:1"));
    EXPECT_THAT(Staged(), IsEmpty());

    const ResolvedImage resolved = store_->Resolve("child:1").value();
    EXPECT_EQ(resolved.id, image->id);
    EXPECT_THAT(resolved.process.cmd, ElementsAre("ls"));
    EXPECT_THAT(resolved.process.env, ElementsAre("PATH=/bin", "A=1"));
    const ImageDetails details = store_->Describe(image->manifest).value();
    ASSERT_EQ(details.layer_bytes.size(), 3u);
    EXPECT_EQ(details.layer_bytes.back(), layer.size());
    // The parent's layers are the parent's, byte for byte.
    const auto layers_of = [&](const Digest& manifest) {
      return ParseJsonObject(store_->Describe(manifest)->manifest, "m")->at("layers");
    };
    for (size_t i : {0u, 1u}) {
      EXPECT_EQ(layers_of(image->manifest)[i]["digest"], layers_of(parent)[i]["digest"]);
    }
    const nlohmann::json config = *ParseJsonObject(details.config, "c");
    EXPECT_EQ(config["rootfs"]["diff_ids"][2], testing::Sha256Of(layer).ToString());
    EXPECT_EQ(config["created"], "2026-01-02T03:04:05Z");
    EXPECT_EQ(config["author"], "a");
    EXPECT_EQ(config["history"].back(), (nlohmann::json{{"created", "2026-01-02T03:04:05Z"},
                                                        {"created_by", "sh -c x"},
                                                        {"author", "a"},
                                                        {"comment", "c"}}));
    // And it can be a parent in its turn.
    options.load.name = "grandchild";
    ASSERT_TRUE(Commit(image->manifest, {layer}, options).ok());
    EXPECT_EQ(store_->Describe(store_->Resolve("grandchild")->manifest)->layer_bytes.size(), 4u);
    for (const char* name : {"parent", "child:1", "grandchild"}) {
      ASSERT_TRUE(store_->Remove(name, {}, true).ok());
    }
  }
}

TEST_F(ImageCommitTest, WhatIsNoLayerLeavesNothing) {
  const Digest parent = LoadParent("+gzip");
  const CommitOptions options = {.load = Options("child"), .created = "2026-01-02T03:04:05Z"};
  const std::string layer = MakeTar({{.path = "f", .data = std::string(5000, 'x')}});
  for (const std::string& hostile :
       {std::string("no archive at all"), layer.substr(0, 2000),
        MakeTar({{.path = "../up", .data = "x"}}),
        MakeTar({{.path = "l", .type = '1', .link = "../../etc/shadow"}})}) {
    const absl::StatusOr<LoadedImage> image = Commit(parent, {hostile}, options);
    EXPECT_FALSE(image.ok());
    EXPECT_THAT(image.status().ToString(), HasSubstr("layer 3 of 3"));
    EXPECT_TRUE(absl::IsNotFound(store_->Resolve("child").status()));
    EXPECT_THAT(Staged(), IsEmpty());
  }
  EXPECT_EQ(store_->List()->size(), 1u);
}

TEST_F(ImageCommitTest, TheStoreNeedsTheParentsLayers) {
  const Digest parent = LoadParent("");
  std::filesystem::remove(
      absl::StrCat(directory_, "/images/sha256/", parent.hex(), "/layers.blob"));
  EXPECT_TRUE(absl::IsFailedPrecondition(ImageCommit::Begin(*store_, parent).status()));
}

}  // namespace
}  // namespace hull::images

int main(int argc, char** argv) {
  ::testing::InitGoogleMock(&argc, argv);
  if (argc != 2) return 2;
  hull::images::unpack_program = {
      .path = std::filesystem::absolute(argv[1]),
      .user_claims = ::testing::TempDir() + "/not/yet/there/users.lock"};
  return RUN_ALL_TESTS();
}
