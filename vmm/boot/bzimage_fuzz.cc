// The input is the beginning of a file, whose size follows from the first two bytes.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "vmm/boot/bzimage.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  // The file goes on behind what the parser is shown by up to 64 KiB - 1.
  const uint64_t more = data[0] | (data[1] << 8);
  const std::span<const uint8_t> head(data + 2, size - 2);
  const uint64_t file_size = head.size() + more;
  const auto image = hull::boot::ParseBzImage(head, file_size);
  if (!image.ok()) return 0;
  if (image->kernel_offset > file_size || image->kernel_size != file_size - image->kernel_offset ||
      image->kernel_size > image->init_size ||
      image->load_address + image->init_size < image->load_address ||
      image->entry < image->load_address ||
      image->entry - image->load_address >= image->kernel_size) {
    std::abort();
  }
  return 0;
}
