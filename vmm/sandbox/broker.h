// How a jailed VMM, which sees no path and may make no socket, gets connections to host processes:
// it asks the process that started it, over a socket pair, and is handed them.
//
// SOCK_SEQPACKET, one message each: a request, and its reply with the connection attached. Replies
// may come in any order.

#ifndef VMM_SANDBOX_BROKER_H_
#define VMM_SANDBOX_BROKER_H_

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"

namespace hull::sandbox {

struct BrokerRequest {
  uint32_t id = 0;    // the requester's choice; comes back in the reply
  uint32_t port = 0;  // the vsock port that the guest connects to
};

struct BrokerReply {
  uint32_t id = 0;
  int32_t error = 0;  // an errno, or 0: then there is a connection
  UniqueFd connection = {};
};

struct BrokerSockets {
  UniqueFd requester;  // the jailed end
  UniqueFd server;
};

// Both ends close-on-exec and non-blocking.
absl::StatusOr<BrokerSockets> MakeBrokerSockets();

// Neither blocks: kUnavailable when the other end does not read.
absl::Status SendRequest(int socket, const BrokerRequest& request);
absl::Status SendReply(int socket, const BrokerReply& reply);

// nullopt when there is none yet. kOutOfRange when the other end is closed, kInvalidArgument for
// what is no message. A server takes no descriptors, whatever is attached.
absl::StatusOr<std::optional<BrokerRequest>> ReceiveRequest(int socket);
// The connection is close-on-exec. One that could not be received, for want of descriptors, is an
// error in the reply.
absl::StatusOr<std::optional<BrokerReply>> ReceiveReply(int socket);

}  // namespace hull::sandbox

#endif  // VMM_SANDBOX_BROKER_H_
