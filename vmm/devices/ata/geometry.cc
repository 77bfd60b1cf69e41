#include "vmm/devices/ata/geometry.h"

#include <algorithm>
#include <optional>

namespace hull::ata {

namespace {

constexpr uint8_t kHeads = 16;
constexpr uint8_t kSectors = 63;
constexpr uint64_t kMaxCylinders = 16383;
constexpr uint32_t kMaxBiosCylinders = 1024;

// The partition table in the first sector.
constexpr size_t kTable = 0x1be;
constexpr size_t kEntries = 4;
constexpr size_t kEntrySize = 16;
constexpr size_t kSignature = 0x1fe;

struct Shape {
  uint32_t heads = 0;
  uint32_t sectors = 0;
};

// What the last sector of a partition is called: a partition ends with a cylinder.
std::optional<Shape> ShapeOf(std::span<const uint8_t, kSectorSize> first) {
  if (first[kSignature] != 0x55 || first[kSignature + 1] != 0xaa) return std::nullopt;
  for (size_t i = 0; i < kEntries; ++i) {
    const auto entry = first.subspan(kTable + i * kEntrySize, kEntrySize);
    const bool is_flag = entry[0] == 0x00 || entry[0] == 0x80;
    const bool has_size = std::any_of(entry.begin() + 12, entry.end(), [](uint8_t b) { return b; });
    const uint32_t heads = entry[5] + 1u;
    const uint32_t sectors = entry[6] & 0x3f;
    if (is_flag && has_size && heads > 1 && sectors > 0) return Shape{heads, sectors};
  }
  return std::nullopt;
}

Geometry Divide(uint64_t total, uint8_t heads, uint8_t sectors) {
  const uint64_t cylinders = total / (uint64_t{heads} * sectors);
  return {.cylinders = static_cast<uint16_t>(std::clamp<uint64_t>(cylinders, 1, kMaxCylinders)),
          .heads = heads,
          .sectors = sectors};
}

}  // namespace

Layout LayoutOf(uint64_t sectors, std::span<const uint8_t, kSectorSize> first) {
  const Geometry usual = Divide(sectors, kHeads, kSectors);
  const std::optional<Shape> shape = ShapeOf(first);
  if (shape.has_value() && shape->heads > kHeads) return {usual, true};
  if (shape.has_value()) {
    const Geometry geometry =
        Divide(sectors, static_cast<uint8_t>(shape->heads), static_cast<uint8_t>(shape->sectors));
    if (geometry.cylinders <= kMaxBiosCylinders) return {geometry, false};
  }
  return {usual, usual.cylinders > kMaxBiosCylinders};
}

}  // namespace hull::ata
