#include "images/oci/docker_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace hull::images {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(DockerManifestTest, ImagesAreRead) {
  const absl::StatusOr<std::vector<DockerImage>> images = ParseDockerManifest(
      R"([{"Config":"a.json","RepoTags":["x:1","y:2"],"Layers":["1/layer.tar","2.tar"]},)"
      R"({"Config":"b.json","RepoTags":null,"Layers":[]}])");
  ASSERT_TRUE(images.ok()) << images.status();
  ASSERT_EQ(images->size(), 2u);
  EXPECT_EQ((*images)[0].config, "a.json");
  EXPECT_THAT((*images)[0].names, ElementsAre("x:1", "y:2"));
  EXPECT_THAT((*images)[0].layers, ElementsAre("1/layer.tar", "2.tar"));
  EXPECT_TRUE((*images)[1].names.empty());
}

TEST(DockerManifestTest, PathsThatLeadElsewhereAreRefused) {
  for (const char* path : {"/etc/passwd", "../x", "a/../../x", "a//b", "./x", "", "a\\u0000b"}) {
    const std::string config =
        absl::StrCat(R"([{"Config":")", path, R"(","RepoTags":[],"Layers":[]}])");
    EXPECT_TRUE(absl::IsInvalidArgument(ParseDockerManifest(config).status())) << path;
    const std::string layer =
        absl::StrCat(R"([{"Config":"c","RepoTags":[],"Layers":[")", path, R"("]}])");
    EXPECT_THAT(ParseDockerManifest(layer).status().ToString(), HasSubstr("image 1")) << path;
  }
}

TEST(DockerManifestTest, WhatIsNoManifestIsRefused) {
  for (const char* text :
       {"", "{}", "null", "[1]", "[{}]", R"([{"Config":1}])", R"([{"Config":"c","Layers":"x"}])",
        R"([{"Config":"c","RepoTags":{}}])", "[", "[[[["}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseDockerManifest(text).status())) << text;
  }
}

TEST(DockerManifestTest, Bounds) {
  std::string images = "[";
  for (size_t i = 0; i <= kMaxDockerImages; ++i) {
    absl::StrAppend(&images, i == 0 ? "" : ",", R"({"Config":"c"})");
  }
  EXPECT_THAT(ParseDockerManifest(images + "]").status().ToString(), HasSubstr("more than 256"));
  std::string layers;
  for (int i = 0; i <= 1024; ++i) absl::StrAppend(&layers, i == 0 ? "" : ",", R"("l")");
  EXPECT_THAT(ParseDockerManifest(absl::StrCat(R"([{"Config":"c","Layers":[)", layers, "]}]"))
                  .status()
                  .ToString(),
              HasSubstr("more than 1024 layers"));
  EXPECT_THAT(ParseDockerManifest(absl::StrCat(R"([{"Config":")", std::string(5000, 'x'), R"("}])"))
                  .status()
                  .ToString(),
              HasSubstr("not a path"));
}

}  // namespace
}  // namespace hull::images
