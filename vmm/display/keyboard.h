// A PC's keyboard for a client that tells which symbols are pressed.
//
// Symbols are the X Window System's (RFC 6143, section 7.5.4); what comes out is scan code set 1,
// of a keyboard of the US (vmm/container/keys.h).

#ifndef VMM_DISPLAY_KEYBOARD_H_
#define VMM_DISPLAY_KEYBOARD_H_

#include <cstdint>
#include <vector>

#include "vmm/container/keys.h"

namespace hull::display {

// The keys that one client holds down. Not thread-safe.
class Keyboard {
 public:
  // The codes to send: none for a symbol that no key has. A character that is typed with Shift on
  // a keyboard of the US, and is not on the client's, or the other way round, comes with Shift
  // pressed or released around it. Not so letters, of which Caps Lock may be the reason.
  std::vector<uint8_t> Press(uint32_t symbol);
  // None for a key that is not down.
  std::vector<uint8_t> Release(uint32_t symbol);
  // Of a client that goes.
  std::vector<uint8_t> ReleaseAll();

 private:
  bool ShiftHeld() const;

  std::vector<container::KeyPosition> held_;  // without `shift`; bounded by the keys there are
};

}  // namespace hull::display

#endif  // VMM_DISPLAY_KEYBOARD_H_
