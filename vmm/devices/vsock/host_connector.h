// How a connection that the guest opens reaches a process on the host.

#ifndef VMM_DEVICES_VSOCK_HOST_CONNECTOR_H_
#define VMM_DEVICES_VSOCK_HOST_CONNECTOR_H_

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"

namespace hull::vsock {

// Opens stream sockets to the host's listeners. UnixConnector connects to paths; inside a jail,
// where no path is visible, an implementation that is handed descriptors takes its place.
//
// All calls and callbacks are on the event loop's thread, and none blocks.
class HostConnector {
 public:
  // Never 0.
  using RequestId = uint64_t;
  // Receives a connected, non-blocking stream socket, or why there is none.
  using Done = std::function<void(absl::StatusOr<UniqueFd>)>;

  virtual ~HostConnector() = default;

  // Connects to whoever serves the guest's CID 2 port `port`. Calls `done` exactly once, either
  // before it returns (the id then means nothing) or later; there is no time limit, the caller
  // cancels. The number of requests under way is the caller's to bound.
  virtual RequestId Connect(uint32_t port, Done done) = 0;

  // Forgets a request that is under way: its `done` is not called.
  virtual void Cancel(RequestId id) = 0;
};

}  // namespace hull::vsock

#endif  // VMM_DEVICES_VSOCK_HOST_CONNECTOR_H_
