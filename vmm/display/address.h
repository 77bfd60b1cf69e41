// Where a display listens: the value of `hull run --display`.

#ifndef VMM_DISPLAY_ADDRESS_H_
#define VMM_DISPLAY_ADDRESS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"

namespace hull::display {

// The first of the ports that VNC's displays have (RFC 6143, section 8.1), and how many are tried.
inline constexpr uint16_t kFirstPort = 5900;
inline constexpr uint16_t kTriedPorts = 100;

struct Address {
  // IPv4 or IPv6, in numbers, or the absolute path of a Unix socket.
  std::string host = "127.0.0.1";
  uint16_t port = 0;  // 0: the first of kTriedPorts that is free; of no use with a Unix socket

  friend bool operator==(const Address&, const Address&) = default;
};

// "vnc", "vnc=ADDR:PORT", where ADDR is in numbers, [IPv6] in brackets, or "localhost", or
// "vnc=/PATH" of a Unix socket. kInvalidArgument, fit for the user. Pure.
absl::StatusOr<Address> ParseDisplayFlag(absl::string_view text);

// ADDR:PORT, or the path.
std::string AddressText(const Address& address);

bool IsUnixSocket(const Address& address);

// Whether only this host reaches it.
bool IsLoopback(const Address& address);

// Listens there; sets the port that was chosen. kAlreadyExists, fit for the user, if somebody else
// does. A Unix socket is this user's alone, and is made in the place of one at which nobody listens
// any more; it is not removed at the end.
absl::StatusOr<UniqueFd> Listen(Address* address);

}  // namespace hull::display

#endif  // VMM_DISPLAY_ADDRESS_H_
