// The host's side of a machine's sockets, for whoever starts a jailed machine: all that is done
// with their paths.

#ifndef VMM_MACHINE_HOST_SOCKETS_H_
#define VMM_MACHINE_HOST_SOCKETS_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"
#include "vmm/devices/vsock/unix_connector.h"
#include "vmm/event/event_loop.h"

namespace hull::machine {

// Where host processes connect to the guest: a listening socket at `path`, of mode 0600. A socket
// there that nobody listens on is replaced; kAlreadyExists if somebody does.
absl::StatusOr<UniqueFd> ListenForHosts(const std::string& path);

// Connects on behalf of the machine to "<prefix>_P" for each vsock port P that it asks for.
// Event loop's thread only.
class ConnectionBroker {
 public:
  // `socket` is the server's end of MakeBrokerSockets; `loop` outlives this.
  static absl::StatusOr<std::unique_ptr<ConnectionBroker>> Create(UniqueFd socket,
                                                                  std::string prefix,
                                                                  EventLoop* loop);
  ~ConnectionBroker();

 private:
  ConnectionBroker(UniqueFd socket, std::string prefix, EventLoop* loop)
      : socket_(std::move(socket)), loop_(loop), connector_(std::move(prefix), loop) {}
  void OnReadable();
  void StopServing();

  const UniqueFd socket_;
  EventLoop* const loop_;
  std::optional<EventLoop::Id> watch_;
  size_t under_way_ = 0;
  vsock::UnixConnector connector_;
};

}  // namespace hull::machine

#endif  // VMM_MACHINE_HOST_SOCKETS_H_
