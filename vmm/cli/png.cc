#include "vmm/cli/png.h"

#include <png.h>

#include "absl/strings/str_cat.h"

namespace hull::cli {

absl::StatusOr<std::string> EncodePng(const container::Picture& picture) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = picture.width;
  image.height = picture.height;
  image.format = PNG_FORMAT_RGB;
  if (picture.rgb.size() != PNG_IMAGE_SIZE(image)) {
    return absl::InternalError("the picture has not the bytes of its size");
  }
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string file(size, '\0');
  if (png_image_write_to_memory(&image, file.data(), &size, /*convert_to_8_bit=*/0,
                                picture.rgb.data(), /*row_stride=*/0, /*colormap=*/nullptr) == 0) {
    return absl::InternalError(absl::StrCat("libpng: ", image.message));
  }
  file.resize(size);
  return file;
}

}  // namespace hull::cli
