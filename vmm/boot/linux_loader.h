// Puts Linux into guest memory by its 64-bit boot protocol.
//
// Linux kernel documentation, arch/x86/boot.rst, "64-bit Boot Protocol".

#ifndef VMM_BOOT_LINUX_LOADER_H_
#define VMM_BOOT_LINUX_LOADER_H_

#include <asm/bootparam.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/boot/boot_params.h"
#include "vmm/memory/guest_memory.h"

namespace hull::boot {

struct LoadedKernel {
  uint64_t entry = 0;                  // Physical address of the 64-bit entry point.
  uint64_t end = 0;                    // First address after the memory it needs to start.
  uint64_t initramfs_limit = 0;        // The initramfs must end at or below this.
  std::optional<setup_header> header;  // Only a bzImage has one.
};

// Loads an ELF64 vmlinux or a bzImage from the regular file `fd`, wholly at or above `floor`.
// Whole pages of an ELF kernel are mapped privately, so that machines share them; the file must
// not change while the machine runs. What is writable is copied to a huge page instead where it
// lies within one, and the first and the last huge page of what is not are gathered in the host
// (GuestMemory::GatherHugePage). The errors name the cause but not the file.
absl::StatusOr<LoadedKernel> LoadKernel(GuestMemory& memory, uint64_t floor, int fd);

// Maps the regular file `fd` privately at the highest page-aligned address where it ends at or
// below `limit`, starting at or above `floor`.
absl::StatusOr<MemoryRange> LoadInitramfs(GuestMemory& memory, uint64_t floor, uint64_t limit,
                                          int fd);

// kInvalidArgument when it holds a NUL or is too long for the kernel to see all of it.
absl::Status WriteCommandLine(const GuestMemory& memory, GuestAddress address,
                              absl::string_view command_line);

// One element of the setup_data list.
struct SetupDataItem {
  uint32_t type = 0;  // SETUP_DTB, SETUP_RNG_SEED …
  std::span<const uint8_t> data;
};

// Writes the linked list from `address` on; it must end at or below `limit`.
absl::Status WriteSetupData(const GuestMemory& memory, GuestAddress address, uint64_t limit,
                            std::span<const SetupDataItem> items);

}  // namespace hull::boot

#endif  // VMM_BOOT_LINUX_LOADER_H_
