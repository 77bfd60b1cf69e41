#include "vmm/cli/image_views.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hull::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string& Hex() {
  static const std::string& hex = *new std::string(64, 'a');
  return hex;
}

images::ImageDetails Image() {
  images::ImageDetails image{
      .info = {.repository = {},
               .tag = {},
               .manifest = images::Digest::FromHex(std::string(64, 'b')),
               .id = images::Digest::FromHex(Hex()),
               .size = 1234,
               .created = 1767323045},
      .names = {"docker.io/library/app:1", "docker.io/library/app:2", "quay.io/x:1"},
      .config =
          R"({"architecture":"amd64","os":"linux","created":"2026-01-02T03:04:05Z",
        "author":"me","config":{"Cmd":["sh"],"Labels":{"k":"v"},"ExposedPorts":{"80/tcp":{}}},
        "rootfs":{"type":"layers","diff_ids":["sha256:)" +
          Hex() +
          R"("]},"history":[{"created":"2026-01-01T00:00:00Z","created_by":"ADD \u001b[31m )" +
          std::string(100, 'x') +
          R"("},{"created_by":"CMD sh","empty_layer":true,"comment":"last"}]})",
      .manifest = R"({"schemaVersion":2,"layers":[{"size":55}]})",
      .layer_bytes = {1000}};
  return image;
}

TEST(ImageViewsTest, InspectHasPodmansMembers) {
  const nlohmann::json object = InspectImage(Image()).value();
  EXPECT_EQ(object["Id"], Hex());
  EXPECT_EQ(object["RepoDigests"].size(), 2u);
  EXPECT_EQ(object["RepoDigests"][1], "quay.io/x@sha256:" + std::string(64, 'b'));
  EXPECT_EQ(object["Config"]["ExposedPorts"].size(), 1u);
  EXPECT_EQ(object["Labels"]["k"], "v");
  EXPECT_EQ(object["RootFS"]["Layers"].size(), 1u);
  EXPECT_EQ(object["Author"], "me");
  EXPECT_EQ(object["Comment"], "last");
  EXPECT_EQ(object["Created"], "2026-01-02T03:04:05Z");
  EXPECT_EQ(object["Size"], 1234);
  images::ImageDetails damaged = Image();
  damaged.config = "{";
  EXPECT_FALSE(InspectImage(damaged).ok());
}

TEST(ImageViewsTest, Summary) {
  nlohmann::json object = SummarizeImage(Image(), 2).value();
  EXPECT_EQ(object["Containers"], 2);
  EXPECT_EQ(object["CreatedAt"], "2026-01-02T03:04:05Z");
  EXPECT_FALSE(object.contains("Dangling"));
  images::ImageDetails unnamed = Image();
  unnamed.names.clear();
  EXPECT_EQ(SummarizeImage(unnamed, 0).value()["Dangling"], true);
}

TEST(ImageViewsTest, HistoryGivesLayersToTheStepsThatMadeThem) {
  const std::vector<HistoryEntry> history = ImageHistory(Image()).value();
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[0].id, Hex());
  EXPECT_EQ(history[0].size, 0u);
  EXPECT_EQ(history[1].id, "<missing>");
  EXPECT_EQ(history[1].size, 1000u);
  const std::string table = RenderHistory(history, {}, 1767312000).value();
  EXPECT_THAT(table, HasSubstr("aaaaaaaaaaaa  -"));
  EXPECT_THAT(table, HasSubstr("...  1 kB"));
  // What an image says must not reach the terminal as it is.
  EXPECT_THAT(table, Not(HasSubstr("\x1b")));
  EXPECT_EQ(RenderHistory(history, {.quiet = true}, 0).value(), "aaaaaaaaaaaa\n<missing>\n");
  EXPECT_EQ(
      nlohmann::json::parse(RenderHistory(history, {.format = "json"}, 0).value())[0]["comment"],
      "last");
  EXPECT_EQ(RenderHistory(history, {.format = "{{.Comment}}"}, 0).value(), "last\n\n");

  images::ImageDetails bare = Image();
  bare.config = "{}";
  bare.layer_bytes.clear();
  const std::vector<HistoryEntry> layers = ImageHistory(bare).value();
  ASSERT_EQ(layers.size(), 1u);
  EXPECT_EQ(layers[0].size, 55u);
  bare.config = R"({"history":[1]})";
  EXPECT_FALSE(ImageHistory(bare).ok());
}

TEST(ImageViewsTest, Filters) {
  images::ImageInfo row = Image().info;
  const std::map<std::string, std::string> labels = {{"k", "v"}};
  const auto matches = [&](const std::string& text) {
    return Matches(ParseImageFilter(text).value(), row, labels);
  };
  EXPECT_TRUE(matches("dangling=true"));
  EXPECT_FALSE(matches("reference=*"));
  row.repository = "docker.io/library/app";
  row.tag = "1";
  EXPECT_TRUE(matches("dangling=false"));
  for (const char* pattern : {"app", "app:1", "docker.io/library/app", "*/app:*", "a?p"}) {
    EXPECT_TRUE(matches(std::string("reference=") + pattern)) << pattern;
  }
  for (const char* pattern : {"ap", "app:2", "library/app"}) {
    EXPECT_FALSE(matches(std::string("reference=") + pattern)) << pattern;
  }
  EXPECT_TRUE(matches("label=k"));
  EXPECT_TRUE(matches("label=k=v"));
  EXPECT_FALSE(matches("label=k=w"));
  EXPECT_FALSE(matches("label=l"));
  EXPECT_TRUE(matches("id=aaa"));
  EXPECT_FALSE(matches("id=b"));
  for (const char* text : {"", "dangling", "dangling=maybe", "colour=red", "label="}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseImageFilter(text).status())) << text;
  }
}

TEST(ImageViewsTest, SizesAndAges) {
  EXPECT_EQ(HumanSize(4'190'000), "4.19 MB");
  EXPECT_EQ(HumanSize(0), "0 B");
  EXPECT_EQ(HumanAge(3 * 7 * 86400), "3 weeks ago");
  EXPECT_EQ(HumanAge(1), "1 second ago");
  EXPECT_EQ(HumanAge(-5), "now");
}

}  // namespace
}  // namespace hull::cli
