#include "vmm/devices/floppy/geometry.h"

namespace hull::floppy {

namespace {

constexpr uint8_t kRate500 = 1 << 0;
constexpr uint8_t kRate300 = 1 << 1;
constexpr uint8_t kRate250 = 1 << 2;
constexpr uint8_t kRate1000 = 1 << 3;
// A 5.25" drive for high density turns faster than the one that wrote a diskette of low density.
constexpr uint8_t kLowDensity = kRate300 | kRate250;

constexpr Geometry kFormats[] = {
    {40, 1, 8, kLowDensity, 2},  // 160 KB
    {40, 1, 9, kLowDensity, 2},  // 180 KB
    {40, 2, 8, kLowDensity, 2},  // 320 KB
    {40, 2, 9, kLowDensity, 2},  // 360 KB
    {80, 2, 15, kRate500, 2},    // 1.2 MB
    {80, 2, 9, kRate250, 3},     // 720 KB
    {80, 2, 18, kRate500, 4},    // 1.44 MB
    {80, 2, 36, kRate1000, 5},   // 2.88 MB
};

}  // namespace

std::optional<Geometry> GeometryOf(uint64_t size) {
  for (const Geometry& format : kFormats) {
    if (size == uint64_t{format.cylinders} * format.heads * format.sectors * kSectorSize) {
      return format;
    }
  }
  return std::nullopt;
}

}  // namespace hull::floppy
