// The compressed kernel image (bzImage).
//
// Linux kernel documentation, arch/x86/boot.rst: "The Real-Mode Kernel Header", "64-bit Boot
// Protocol".

#ifndef VMM_BOOT_BZIMAGE_H_
#define VMM_BOOT_BZIMAGE_H_

#include <asm/bootparam.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"

namespace hull::boot {

// The setup header ends at 0x202 plus the byte at 0x201, so it lies in the first kBzImageHeaderSize
// bytes of the file.
inline constexpr size_t kSetupHeaderOffset = 0x1f1;
inline constexpr size_t kBzImageHeaderSize = 0x202 + 0xff;

struct BzImage {
  setup_header header = {};    // As in the file; fields newer than the file's header are zero.
  uint64_t kernel_offset = 0;  // The protected-mode kernel in the file …
  uint64_t kernel_size = 0;
  uint64_t load_address = 0;  // … and in guest memory.
  uint64_t init_size = 0;     // Bytes of memory that it needs from load_address on.
  uint64_t entry = 0;         // Physical address of its 64-bit entry point.
};

// Whether the file's first bytes are those of a bzImage (or an older relative).
bool LooksLikeBzImage(std::span<const uint8_t> head);

// `head` is the beginning of the file, at least kBzImageHeaderSize bytes or the whole file.
// kInvalidArgument says what is wrong: no or too old a header, no 64-bit entry point, a truncated
// file, addresses that make no sense. Pure.
absl::StatusOr<BzImage> ParseBzImage(std::span<const uint8_t> head, uint64_t file_size);

}  // namespace hull::boot

#endif  // VMM_BOOT_BZIMAGE_H_
