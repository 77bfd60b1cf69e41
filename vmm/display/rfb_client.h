// One client of a display, in a process of its own: speaks the RFB protocol (RFC 6143) by
// libvncserver.

#ifndef VMM_DISPLAY_RFB_CLIENT_H_
#define VMM_DISPLAY_RFB_CLIENT_H_

#include <string>

#include "vmm/base/unique_fd.h"
#include "vmm/display/shared_screen.h"

namespace hull::display {

// A password of VNC's authentication has no more characters (RFC 6143, section 7.2.2).
inline constexpr size_t kMaxPassword = 8;

// Serves it until it goes, breaks the protocol, or the other end of `input` (input.h) does. One
// that has not come through the handshake after 30 seconds, or does not take what it is sent for
// 10, is left. Blocks; the process is of no more use then. `password`: empty for none.
void ServeRfbClient(UniqueFd client, UniqueFd input, const SharedScreen& screen,
                    const std::string& password);

// Has libvncserver and what it uses do what it does once only, so that a sandbox can be entered.
void PrepareRfb();

}  // namespace hull::display

#endif  // VMM_DISPLAY_RFB_CLIENT_H_
