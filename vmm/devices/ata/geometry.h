// The cylinders, heads and sectors of a disk: what a BIOS and DOS call it.
//
// ATA/ATAPI-6, Annex B; the translations are those of SeaBIOS's src/block.c.

#ifndef VMM_DEVICES_ATA_GEOMETRY_H_
#define VMM_DEVICES_ATA_GEOMETRY_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "vmm/devices/ata/wire.h"

namespace hull::ata {

struct Geometry {
  uint16_t cylinders = 0;  // 1 to 16383.
  uint8_t heads = 0;       // 1 to 16.
  uint8_t sectors = 0;     // On each track, from 1 on; 1 to 63.

  bool operator==(const Geometry&) const = default;
};

struct Layout {
  Geometry geometry;
  // Whether the BIOS is to show more heads and fewer cylinders to programs, which know 1024
  // cylinders only ("LBA-assisted"). Else it shows them the geometry as it is.
  bool translate = false;

  bool operator==(const Layout&) const = default;
};

// Of a disk of `sectors` sectors (at least one) that begins with `first`. Should that be a
// partition table made for other heads and sectors than 16 and 63, it is these that count: the
// loaders on the disk rely on them. Pure.
Layout LayoutOf(uint64_t sectors, std::span<const uint8_t, kSectorSize> first);

}  // namespace hull::ata

#endif  // VMM_DEVICES_ATA_GEOMETRY_H_
