// Reaches the host's listeners by path.

#ifndef VMM_DEVICES_VSOCK_UNIX_CONNECTOR_H_
#define VMM_DEVICES_VSOCK_UNIX_CONNECTOR_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/devices/vsock/host_connector.h"
#include "vmm/event/event_loop.h"

namespace hull::vsock {

// Ports of the host as Unix stream sockets: port P is "<prefix>_P". Event loop's thread only.
class UnixConnector : public HostConnector {
 public:
  // The longest prefix, in bytes: sun_path holds it with "_", ten digits and a final zero.
  static constexpr size_t kMaxPrefix = 96;

  // `prefix` is at most kMaxPrefix long; `loop` outlives this.
  UnixConnector(std::string prefix, EventLoop* loop);
  ~UnixConnector() override;

  RequestId Connect(uint32_t port, Done done) override;
  void Cancel(RequestId id) override;

 private:
  struct Request {
    UniqueFd socket;
    std::string path;
    Done done;
  };

  // nullopt while the listener's backlog is full.
  static std::optional<absl::Status> Try(const Request& request);
  void RetryLater();
  void RetryAll();

  const std::string prefix_;
  EventLoop* const loop_;
  RequestId last_id_ = 0;
  std::map<RequestId, Request> waiting_;  // In the order of their arrival.
  std::optional<EventLoop::Id> timer_;
};

// A listening, non-blocking socket at `path` (at most kMaxPrefix bytes), created with mode 0600. A
// socket file there that nobody listens on is replaced; kAlreadyExists if somebody does.
absl::StatusOr<UniqueFd> ListenOnUnixSocket(const std::string& path);

}  // namespace hull::vsock

#endif  // VMM_DEVICES_VSOCK_UNIX_CONNECTOR_H_
