// The ELF64 kernel image (vmlinux): which bytes go where.
//
// System V ABI, "Object Files" and "Program Loading"; x86-64 supplement.

#ifndef VMM_BOOT_ELF_H_
#define VMM_BOOT_ELF_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hull::boot {

// Fills `out` from `offset` of an image, or fails. Only called within the image's size.
using ReadAt = absl::FunctionRef<absl::Status(uint64_t offset, std::span<uint8_t> out)>;

// The program headers of one image: a vmlinux has five.
inline constexpr size_t kMaxElfProgramHeaders = 64;

// One PT_LOAD segment: file_size bytes of the file, then zeroes up to memory_size.
struct ElfSegment {
  uint64_t file_offset = 0;
  uint64_t file_size = 0;
  uint64_t physical_address = 0;
  uint64_t memory_size = 0;
  bool writable = false;

  uint64_t physical_end() const { return physical_address + memory_size; }
};

struct ElfKernel {
  uint64_t entry = 0;                // Physical; inside the file's part of a segment.
  std::vector<ElfSegment> segments;  // At least one; ascending by physical address.
};

// Reads the headers of an ELF64 x86-64 executable. kInvalidArgument says what is wrong with the
// file: not such an ELF file, a segment that lies beyond the end of the file, wraps, or overlaps
// another. Whether the segments fit the guest's memory is the loader's to check. Pure, but for
// `read`.
absl::StatusOr<ElfKernel> ParseElf(uint64_t file_size, ReadAt read);

}  // namespace hull::boot

#endif  // VMM_BOOT_ELF_H_
