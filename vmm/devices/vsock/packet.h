// Packets as validated copies: pure functions over bytes that the guest wrote.

#ifndef VMM_DEVICES_VSOCK_PACKET_H_
#define VMM_DEVICES_VSOCK_PACKET_H_

#include <array>
#include <cstdint>
#include <span>

#include "vmm/devices/vsock/wire.h"

namespace hull::vsock {

using HeaderBytes = std::array<uint8_t, kHeaderSize>;

// Neither validates: any 44 bytes are some header.
Header DecodeHeader(const HeaderBytes& bytes);
HeaderBytes EncodeHeader(const Header& header);

enum class Verdict {
  kDeliver,  // Well-formed, from the guest to the host: for the connection that it names.
  kReset,    // To be answered by RST; ends the connection that it names, if there is one.
  kDrop,     // To be ignored.
};

// Judges a packet that the driver sent with `payload_size` bytes behind its header.
//
// Dropped: a source address that is not the guest's own (5.10.6.2), and a RST for what does not
// exist, as a RST is never answered. Reset: destinations other than the host, socket types
// other than stream, unknown operations, and data whose length is above kMaxPayload or beyond what
// the driver provided. Once delivered, `len` is at most kMaxPayload and at most `payload_size` for
// kOpReadWrite, and without meaning otherwise.
Verdict Judge(const Header& header, uint32_t payload_size, uint64_t guest_cid);

// The RST that answers `header`.
Header ResetFor(const Header& header);

}  // namespace hull::vsock

#endif  // VMM_DEVICES_VSOCK_PACKET_H_
