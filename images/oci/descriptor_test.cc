#include "images/oci/descriptor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace hull::images {
namespace {

using ::testing::HasSubstr;

constexpr char kDigest[] =
    "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

std::string Entry(absl::string_view more = "") {
  return absl::StrCat(R"({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": ")",
                      kDigest, R"(", "size": 12)", more, "}");
}

std::string IndexOf(absl::string_view entries) {
  return absl::StrCat(R"({"schemaVersion": 2, "manifests": [)", entries, "]}");
}

TEST(DescriptorTest, IndexIsRead) {
  const absl::StatusOr<Index> index = ParseIndex(IndexOf(
      absl::StrCat(Entry(R"(, "platform": {"os": "linux", "architecture": "arm64"})"), ",",
                   Entry(R"(, "annotations": {"org.opencontainers.image.ref.name": "latest"})"),
                   ",", Entry(R"(, "annotations": {"org.opencontainers.image.ref.name": "latest",
                                 "io.containerd.image.name": "quay.io/a:b"})"))));
  ASSERT_TRUE(index.ok()) << index.status();
  ASSERT_EQ(index->manifests.size(), 3u);
  EXPECT_EQ(index->manifests[0].size, 12u);
  EXPECT_EQ(index->manifests[0].platform->ToString(), "linux/arm64");
  EXPECT_FALSE(index->manifests[1].platform.has_value());
  EXPECT_EQ(index->manifests[1].name, "latest");
  EXPECT_EQ(index->manifests[2].name, "quay.io/a:b");
}

TEST(DescriptorTest, WrongIndexesAreNamed) {
  const auto error = [](absl::string_view text) { return ParseIndex(text).status().ToString(); };
  EXPECT_THAT(error("{}"), HasSubstr("schemaVersion"));
  EXPECT_THAT(error(R"({"schemaVersion": 2})"), HasSubstr("manifests"));
  EXPECT_THAT(error(R"({"schemaVersion": "2", "manifests": []})"), HasSubstr("schemaVersion"));
  EXPECT_THAT(error(IndexOf("7")), HasSubstr("manifests[0]"));
  EXPECT_THAT(error(IndexOf("{}")), HasSubstr("not a digest"));
  EXPECT_THAT(error(IndexOf(absl::StrCat(R"({"digest": ")", kDigest, R"("})"))),
              HasSubstr("mediaType"));
  for (const char* size : {"-1", "1.5", "\"1\"", "99999999999999999999", "9223372036854775808"}) {
    EXPECT_THAT(error(IndexOf(absl::StrCat(R"({"mediaType": "m", "digest": ")", kDigest,
                                           R"(", "size": )", size, "}"))),
                HasSubstr("\"size\" is not a size"))
        << size;
  }
  EXPECT_THAT(error(IndexOf(Entry(R"(, "platform": 1)"))), HasSubstr("platform"));
  EXPECT_THAT(error(IndexOf(Entry(R"(, "annotations": {"a": 1})"))), HasSubstr("annotations"));
}

TEST(DescriptorTest, OneDocumentIsNotReadInTwoWays) {
  const std::string both = absl::StrCat(
      R"({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "config": )",
      Entry(), R"(, "layers": [], "manifests": []})");
  EXPECT_TRUE(ParseIndex(both).ok());
  EXPECT_THAT(ParseManifest(both).status().ToString(), HasSubstr("mediaType"));
}

TEST(DescriptorTest, ManifestIsReadAndBounded) {
  const auto manifest = [](int layers) {
    std::string text =
        absl::StrCat(R"({"schemaVersion": 2, "config": )", Entry(), R"(, "layers": [)");
    for (int i = 0; i < layers; ++i) absl::StrAppend(&text, i == 0 ? "" : ",", Entry());
    return ParseManifest(text + "]}");
  };
  ASSERT_TRUE(manifest(3).ok());
  EXPECT_EQ(manifest(3)->layers.size(), 3u);
  EXPECT_TRUE(manifest(0).ok());
  EXPECT_FALSE(manifest(1025).ok());
  EXPECT_FALSE(ParseManifest(R"({"schemaVersion": 2, "layers": []})").ok());
}

TEST(DescriptorTest, LayerTypes) {
  const auto type = [](absl::string_view text) { return LayerCompressionOf(text); };
  EXPECT_EQ(*type("application/vnd.oci.image.layer.v1.tar"), LayerCompression::kNone);
  EXPECT_EQ(*type("application/vnd.oci.image.layer.v1.tar+gzip"), LayerCompression::kGzip);
  EXPECT_EQ(*type("application/vnd.oci.image.layer.v1.tar+zstd"), LayerCompression::kZstd);
  EXPECT_EQ(*type("application/vnd.docker.image.rootfs.diff.tar.gzip"), LayerCompression::kGzip);
  EXPECT_EQ(*type("application/vnd.docker.image.rootfs.diff.tar"), LayerCompression::kNone);
  for (const char* text : {"", "application/json", "application/vnd.oci.image.layer.v1.tar+xz",
                           "application/vnd.oci.image.layer.v1.tar+encrypted",
                           "application/vnd.oci.image.layer.v1.tar+"}) {
    EXPECT_TRUE(absl::IsUnimplemented(type(text).status())) << text;
  }
}

}  // namespace
}  // namespace hull::images
