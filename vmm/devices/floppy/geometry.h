// The formats of diskettes.
//
// IBM PC, AT and PS/2 Technical References, "Diskette Drive"; the drive types are those of the byte
// 0x10 of the CMOS memory.

#ifndef VMM_DEVICES_FLOPPY_GEOMETRY_H_
#define VMM_DEVICES_FLOPPY_GEOMETRY_H_

#include <cstdint>
#include <optional>

namespace hull::floppy {

inline constexpr uint32_t kSectorSize = 512;

struct Geometry {
  uint8_t cylinders = 0;
  uint8_t heads = 0;
  uint8_t sectors = 0;  // On each track, from 1 on.
  // The data rates at which it can be read, a bit each: bit n for the value n of the rate register
  // (0: 500, 1: 300, 2: 250 kbit/s, 3: 1 Mbit/s).
  uint8_t rates = 0;
  uint8_t drive_type = 0;  // 2: 5.25", 1.2 MB; 3, 4 and 5: 3.5", 720 KB, 1.44 MB and 2.88 MB.

  bool operator==(const Geometry&) const = default;
};

// Of an image with `size` bytes, if there is a format of that size.
std::optional<Geometry> GeometryOf(uint64_t size);

}  // namespace hull::floppy

#endif  // VMM_DEVICES_FLOPPY_GEOMETRY_H_
