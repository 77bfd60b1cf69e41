// Where the host is, and how a connection to it is opened.

#ifndef GUEST_AGENT_CHANNEL_H_
#define GUEST_AGENT_CHANNEL_H_

#include <sys/socket.h>
#include <sys/un.h>

#include <optional>
#include <string_view>

#include "guest-agent/fd.h"

namespace hull::agent {

// An address of the host. Copyable, immutable.
class Channel {
 public:
  // vsock, host CID 2, kAgentPort.
  static Channel Vsock();
  // A Unix stream socket, for running the agent without a machine. Nothing if the path is too long
  // or empty.
  static std::optional<Channel> Unix(std::string_view path);

  // Starts a connection: the descriptor is non-blocking and becomes writable when connected, or
  // when it failed (ConnectError() tells). An invalid Fd: errno says why.
  Fd Connect() const;

  // 0, or the errno with which the connection failed. Asked once, when the descriptor is writable.
  static int ConnectError(int fd);

 private:
  Channel() = default;

  sockaddr_storage address_ = {};
  socklen_t size_ = 0;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_CHANNEL_H_
