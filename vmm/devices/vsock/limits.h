// Every bound of the socket device in one place.

#ifndef VMM_DEVICES_VSOCK_LIMITS_H_
#define VMM_DEVICES_VSOCK_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace hull::vsock {

// The defaults are the product's; tests shrink them.
struct Limits {
  // Connections of every kind together: established, being set up, being closed, and those whose
  // guest side is gone while the host still reads what was buffered.
  size_t max_connections = 1024;

  // The receive buffer announced to the guest (buf_alloc), in bytes, which is also the most that is
  // ever buffered for a slow reader on the host. The first `large_buffers` connections alive at one
  // time get the large one, the others the small one, so that a hostile guest can make the VMM hold
  // at most 64 * 256 KiB + 960 * 32 KiB = 46 MiB.
  uint32_t large_buffer = 256 * 1024;
  uint32_t small_buffer = 32 * 1024;
  size_t large_buffers = 64;

  // RST replies to packets that belong to no connection, waiting for receive buffers. While that
  // many wait, the transmit queue is not processed.
  size_t max_pending_resets = 128;

  // A guest's REQUEST waits this long for the host's listener (Linux guests give up after 2 s).
  absl::Duration connect_timeout = absl::Seconds(5);
  // A host's connection waits this long for the guest's RESPONSE.
  absl::Duration request_timeout = absl::Seconds(10);
  // A host process that connected has this long to write its CONNECT line.
  absl::Duration handshake_timeout = absl::Seconds(10);
  // After a SHUTDOWN of both directions the guest's RST is awaited this long (5.10.6.5).
  absl::Duration close_timeout = absl::Seconds(8);
};

}  // namespace hull::vsock

#endif  // VMM_DEVICES_VSOCK_LIMITS_H_
