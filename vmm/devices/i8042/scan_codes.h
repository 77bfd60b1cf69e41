// Scan codes of a PC's keyboard.
//
// IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-Key)", scan code sets.

#ifndef VMM_DEVICES_I8042_SCAN_CODES_H_
#define VMM_DEVICES_I8042_SCAN_CODES_H_

#include <cstdint>

namespace hull::i8042 {

// The code in set 2 of the key whose code in set 1 is `code` (without the bit of its release), or 0
// if there is no such key. Prefixes are the same in both sets.
uint8_t Set2Code(uint8_t code);

}  // namespace hull::i8042

#endif  // VMM_DEVICES_I8042_SCAN_CODES_H_
