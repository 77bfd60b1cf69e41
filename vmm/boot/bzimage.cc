#include "vmm/boot/bzimage.h"

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/checked.h"

namespace hull::boot {

namespace {

constexpr uint16_t kBootFlag = 0xaa55;
constexpr uint32_t kHeaderMagic = 0x53726448;  // "HdrS"
constexpr uint64_t kSectorSize = 512;
// 2.12 (Linux 3.8) brought xloadflags, which says that there is a 64-bit entry point …
constexpr uint16_t kMinProtocol = 0x020c;
// … at this offset of the protected-mode kernel.
constexpr uint64_t kEntry64Offset = 0x200;
// Older images mean 4 by 0.
constexpr uint8_t kDefaultSetupSectors = 4;

static_assert(offsetof(boot_params, hdr) == kSetupHeaderOffset);
static_assert(offsetof(setup_header, header) == 0x202 - kSetupHeaderOffset);
static_assert(offsetof(setup_header, jump) == 0x200 - kSetupHeaderOffset);

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("bzImage kernel: ", what));
}

}  // namespace

bool LooksLikeBzImage(std::span<const uint8_t> head) {
  uint32_t magic;
  if (head.size() < 0x202 + sizeof(magic)) return false;
  std::memcpy(&magic, head.data() + 0x202, sizeof(magic));
  return magic == kHeaderMagic;
}

absl::StatusOr<BzImage> ParseBzImage(std::span<const uint8_t> head, uint64_t file_size) {
  if (!LooksLikeBzImage(head)) return Invalid("no setup header");
  // The second byte of the jump at 0x200 tells where the header ends.
  const size_t header_end = 0x202 + size_t{head[0x201]};
  if (head.size() < header_end) return Invalid("the file ends in its setup header");
  BzImage image;
  std::memcpy(&image.header, head.data() + kSetupHeaderOffset,
              std::min(header_end - kSetupHeaderOffset, sizeof(image.header)));
  const setup_header& header = image.header;
  if (header.boot_flag != kBootFlag) return Invalid("no boot flag");
  if (header.version < kMinProtocol) {
    return Invalid(absl::StrCat("boot protocol ", header.version >> 8, ".", header.version & 0xff,
                                ", older than the 2.12 that Hull needs"));
  }
  if ((header.xloadflags & XLF_KERNEL_64) == 0) return Invalid("no 64-bit entry point");
  if ((header.loadflags & LOADED_HIGH) == 0) return Invalid("a zImage, which loads below 1 MiB");

  const uint64_t setup_sectors =
      header.setup_sects == 0 ? kDefaultSetupSectors : header.setup_sects;
  image.kernel_offset = (setup_sectors + 1) * kSectorSize;
  if (image.kernel_offset >= file_size) return Invalid("the file ends before the kernel proper");
  image.kernel_size = file_size - image.kernel_offset;
  // syssize counts units of 16 bytes. A signed image is longer than that; a shorter one is cut off.
  if (image.kernel_size < uint64_t{header.syssize} * 16) {
    return Invalid("the file is shorter than its header says (is it truncated?)");
  }
  if (image.kernel_size <= kEntry64Offset) return Invalid("too short for its 64-bit entry point");

  // A relocatable kernel may be loaded at any aligned address, but the preferred one saves it from
  // moving itself, and one that is not relocatable must be there.
  image.load_address = header.pref_address;
  const uint32_t alignment = header.kernel_alignment;
  if (header.relocatable_kernel != 0) {
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
      return Invalid(absl::StrCat("an alignment of ", alignment));
    }
    const std::optional<uint64_t> aligned = CheckedAlignUp<uint64_t>(image.load_address, alignment);
    if (!aligned.has_value()) return Invalid("a preferred address at the end of memory");
    image.load_address = *aligned;
  }
  image.init_size = std::max<uint64_t>(header.init_size, image.kernel_size);
  if (!CheckedAdd<uint64_t>(image.load_address, image.init_size).has_value()) {
    return Invalid("its memory wraps around the end of the address space");
  }
  image.entry = image.load_address + kEntry64Offset;
  return image;
}

}  // namespace hull::boot
