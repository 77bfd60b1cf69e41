#include "vmm/cli/png.h"

#include <png.h>

#include <string>

#include "gtest/gtest.h"

namespace hull::cli {
namespace {

TEST(PngTest, APictureIsReadAsItWas) {
  container::Picture picture = {.width = 5, .height = 3};
  for (int i = 0; i < 5 * 3 * 3; ++i) picture.rgb += static_cast<char>(i * 5);
  const absl::StatusOr<std::string> file = EncodePng(picture);
  ASSERT_TRUE(file.ok()) << file.status();
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  ASSERT_NE(png_image_begin_read_from_memory(&image, file->data(), file->size()), 0);
  image.format = PNG_FORMAT_RGB;
  EXPECT_EQ(image.width, 5u);
  EXPECT_EQ(image.height, 3u);
  std::string rgb(PNG_IMAGE_SIZE(image), '\0');
  ASSERT_NE(png_image_finish_read(&image, nullptr, rgb.data(), 0, nullptr), 0);
  EXPECT_EQ(rgb, picture.rgb);
}

TEST(PngTest, APictureOfAnotherSizeIsAnError) {
  EXPECT_FALSE(EncodePng({.width = 5, .height = 3, .rgb = "abc"}).ok());
}

}  // namespace
}  // namespace hull::cli
