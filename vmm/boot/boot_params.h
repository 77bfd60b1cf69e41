// The "zero page": what the boot protocol hands to the kernel in memory.
//
// Linux kernel documentation, arch/x86/boot.rst and arch/x86/zero-page.rst.

#ifndef VMM_BOOT_BOOT_PARAMS_H_
#define VMM_BOOT_BOOT_PARAMS_H_

#include <asm/bootparam.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"

namespace hull::boot {

static_assert(sizeof(boot_params) == 4096);
static_assert(sizeof(setup_data) == 16);

// Linux's COMMAND_LINE_SIZE on x86: the longest command line with its terminating NUL.
inline constexpr size_t kMaxCommandLine = 2048;

struct MemoryRange {
  uint64_t start = 0;
  uint64_t size = 0;
};

struct BootParamsConfig {
  std::vector<MemoryRange> ram = {};                  // e820 entries of usable RAM, ascending.
  uint64_t command_line_address = 0;                  // Below 4 GiB.
  uint64_t setup_data_address = 0;                    // Head of the list; 0 for none.
  MemoryRange initramfs = {};                         // Size 0 for none; below 4 GiB.
  std::optional<setup_header> header = std::nullopt;  // A bzImage's own.
};

// kInvalidArgument when it does not fit the format (too many ranges, addresses beyond 4 GiB). Pure.
absl::StatusOr<boot_params> BuildBootParams(const BootParamsConfig& config);

}  // namespace hull::boot

#endif  // VMM_BOOT_BOOT_PARAMS_H_
