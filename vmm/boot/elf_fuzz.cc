// The input is an ELF file. Whatever is accepted must keep the promises of elf.h.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "vmm/boot/elf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto read = [data, size](uint64_t offset, std::span<uint8_t> out) {
    if (offset > size || out.size() > size - offset) std::abort();
    std::memcpy(out.data(), data + offset, out.size());
    return absl::OkStatus();
  };
  const auto kernel = hull::boot::ParseElf(size, read);
  if (!kernel.ok()) return 0;
  uint64_t end = 0;
  bool entry_found = false;
  if (kernel->segments.empty()) std::abort();
  for (const auto& segment : kernel->segments) {
    if (segment.physical_address < end || segment.physical_end() < segment.physical_address) {
      std::abort();
    }
    if (segment.file_size > segment.memory_size || segment.file_offset > size ||
        segment.file_size > size - segment.file_offset) {
      std::abort();
    }
    entry_found |= kernel->entry >= segment.physical_address &&
                   kernel->entry - segment.physical_address < segment.file_size;
    end = segment.physical_end();
  }
  if (!entry_found) std::abort();
  return 0;
}
