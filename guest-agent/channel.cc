#include "guest-agent/channel.h"

// Before linux/vm_sockets.h, which needs sa_family_t.
#include <linux/vm_sockets.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "guest-agent/protocol/framing.h"

namespace hull::agent {

Channel Channel::Vsock() {
  sockaddr_vm address = {};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_HOST;
  address.svm_port = kAgentPort;
  Channel channel;
  std::memcpy(&channel.address_, &address, sizeof(address));
  channel.size_ = sizeof(address);
  return channel;
}

std::optional<Channel> Channel::Unix(std::string_view path) {
  sockaddr_un address = {};
  if (path.empty() || path.size() >= sizeof(address.sun_path)) return std::nullopt;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  Channel channel;
  std::memcpy(&channel.address_, &address, sizeof(address));
  channel.size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return channel;
}

Fd Channel::Connect() const {
  Fd fd(socket(address_.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fd;
  // SAFETY: address_ holds an address of ss_family and of size_ bytes.
  const auto* const address = reinterpret_cast<const sockaddr*>(&address_);
  if (connect(fd.get(), address, size_) != 0 && errno != EINPROGRESS) return Fd();
  return fd;
}

int Channel::ConnectError(int fd) {
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

}  // namespace hull::agent
