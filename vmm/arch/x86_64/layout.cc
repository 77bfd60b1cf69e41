#include "vmm/arch/x86_64/layout.h"

#include <algorithm>

namespace hull::x86_64 {

std::vector<GuestMemory::Range> MemoryRanges(uint64_t size) {
  std::vector<GuestMemory::Range> ranges;
  ranges.push_back({.start = GuestAddress{0}, .size = std::min(size, kHoleStart)});
  if (size > kHoleStart) {
    ranges.push_back({.start = GuestAddress{kHoleEnd}, .size = size - kHoleStart});
  }
  return ranges;
}

std::vector<GuestMemory::Range> PcMemoryRanges(uint64_t size) {
  return {{.start = GuestAddress{0}, .size = kLegacyHoleStart},
          {.start = GuestAddress{kVideoMemoryEnd}, .size = size - kVideoMemoryEnd}};
}

std::vector<boot::MemoryRange> E820Ranges(uint64_t size) {
  std::vector<boot::MemoryRange> ranges;
  ranges.push_back({.start = 0, .size = kLegacyHoleStart});
  ranges.push_back(
      {.start = kHighMemoryStart, .size = std::min(size, kHoleStart) - kHighMemoryStart});
  if (size > kHoleStart) ranges.push_back({.start = kHoleEnd, .size = size - kHoleStart});
  return ranges;
}

}  // namespace hull::x86_64
