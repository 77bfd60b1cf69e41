// What the driver and the socket device exchange (VIRTIO 1.2, section 5.10).

#ifndef VMM_DEVICES_VSOCK_WIRE_H_
#define VMM_DEVICES_VSOCK_WIRE_H_

#include <bit>
#include <cstddef>
#include <cstdint>

namespace hull::vsock {

// Fields are copied as they stand.
static_assert(std::endian::native == std::endian::little);

inline constexpr uint32_t kDeviceType = 19;  // Section 5.

// Virtqueues (5.10.2).
inline constexpr int kRxQueue = 0;
inline constexpr int kTxQueue = 1;
inline constexpr int kEventQueue = 2;
inline constexpr int kQueueCount = 3;

// Addresses (5.10.4): 0, 1 and 0xffffffff are reserved, 2 is the host.
inline constexpr uint64_t kHostCid = 2;
inline constexpr uint32_t kMinGuestCid = 3;
inline constexpr uint32_t kMaxGuestCid = 0xfffffffe;

// Configuration space (5.10.4).
struct ConfigSpace {
  uint64_t guest_cid;
};
static_assert(sizeof(ConfigSpace) == 8);

// struct virtio_vsock_hdr (5.10.6). Naturally aligned but for its end: only the first kHeaderSize
// bytes are on the wire, the structure has four of padding behind them.
struct Header {
  uint64_t src_cid = 0;
  uint64_t dst_cid = 0;
  uint32_t src_port = 0;
  uint32_t dst_port = 0;
  uint32_t len = 0;  // Bytes of payload behind the header.
  uint16_t type = 0;
  uint16_t op = 0;
  uint32_t flags = 0;
  uint32_t buf_alloc = 0;  // The sender's receive buffer, in bytes.
  uint32_t fwd_cnt = 0;    // Bytes that the sender's application took from it, ever; wraps.
};
inline constexpr size_t kHeaderSize = 44;
static_assert(offsetof(Header, src_port) == 16);
static_assert(offsetof(Header, len) == 24);
static_assert(offsetof(Header, type) == 28);
static_assert(offsetof(Header, op) == 30);
static_assert(offsetof(Header, flags) == 32);
static_assert(offsetof(Header, fwd_cnt) + sizeof(uint32_t) == kHeaderSize);

// Header::type.
inline constexpr uint16_t kTypeStream = 1;

// Header::op.
inline constexpr uint16_t kOpRequest = 1;
inline constexpr uint16_t kOpResponse = 2;
inline constexpr uint16_t kOpReset = 3;
inline constexpr uint16_t kOpShutdown = 4;
inline constexpr uint16_t kOpReadWrite = 5;
inline constexpr uint16_t kOpCreditUpdate = 6;
inline constexpr uint16_t kOpCreditRequest = 7;

// Header::flags of kOpShutdown (5.10.6.5): what the sender will not do any more.
inline constexpr uint32_t kShutdownReceive = 1;
inline constexpr uint32_t kShutdownSend = 2;
inline constexpr uint32_t kShutdownBoth = kShutdownReceive | kShutdownSend;

// The largest payload of one packet in either direction: what Linux's drivers send at most.
inline constexpr uint32_t kMaxPayload = 64 * 1024;

}  // namespace hull::vsock

#endif  // VMM_DEVICES_VSOCK_WIRE_H_
