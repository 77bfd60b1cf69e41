#include "vmm/sandbox/broker.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

#include "vmm/base/posix_error.h"

namespace hull::sandbox {
namespace {

struct WireReply {
  uint32_t id;
  int32_t error;
};

// Room for one descriptor, aligned as the kernel's header wants it.
union Attachment {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

absl::Status Send(int socket, msghdr& message) {
  ssize_t n;
  do {
    n = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return absl::OkStatus();
  if (errno == EAGAIN) return absl::UnavailableError("the broker of connections is busy");
  return PosixError("send to the broker of connections");
}

// The size of the message that was received; nullopt when there is none.
absl::StatusOr<std::optional<size_t>> Receive(int socket, msghdr& message) {
  ssize_t n;
  do {
    n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) return std::nullopt;
  if (n < 0) return PosixError("receive from the broker of connections");
  if (n == 0) return absl::OutOfRangeError("the broker of connections is gone");
  return static_cast<size_t>(n);
}

}  // namespace

absl::StatusOr<BrokerSockets> MakeBrokerSockets() {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) != 0) {
    return PosixError("create a socket pair");
  }
  return BrokerSockets{.requester = UniqueFd(sockets[0]), .server = UniqueFd(sockets[1])};
}

absl::Status SendRequest(int socket, const BrokerRequest& request) {
  BrokerRequest wire = request;
  iovec slice = {&wire, sizeof(wire)};
  msghdr message = {};
  message.msg_iov = &slice;
  message.msg_iovlen = 1;
  return Send(socket, message);
}

absl::Status SendReply(int socket, const BrokerReply& reply) {
  WireReply wire = {.id = reply.id, .error = reply.error};
  iovec slice = {&wire, sizeof(wire)};
  Attachment attachment = {};
  msghdr message = {};
  message.msg_iov = &slice;
  message.msg_iovlen = 1;
  if (reply.connection.valid()) {
    message.msg_control = attachment.bytes;
    message.msg_controllen = sizeof(attachment.bytes);
    attachment.header.cmsg_level = SOL_SOCKET;
    attachment.header.cmsg_type = SCM_RIGHTS;
    attachment.header.cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = reply.connection.get();
    std::memcpy(CMSG_DATA(&attachment.header), &fd, sizeof(fd));
  }
  return Send(socket, message);
}

absl::StatusOr<std::optional<BrokerRequest>> ReceiveRequest(int socket) {
  BrokerRequest request;
  iovec slice = {&request, sizeof(request)};
  msghdr message = {};
  message.msg_iov = &slice;
  message.msg_iovlen = 1;
  const absl::StatusOr<std::optional<size_t>> size = Receive(socket, message);
  if (!size.ok()) return size.status();
  if (!size->has_value()) return std::nullopt;
  if (**size != sizeof(request) || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return absl::InvalidArgumentError("the VMM asked its broker for what is no connection");
  }
  return request;
}

absl::StatusOr<std::optional<BrokerReply>> ReceiveReply(int socket) {
  WireReply wire;
  iovec slice = {&wire, sizeof(wire)};
  Attachment attachment = {};
  msghdr message = {};
  message.msg_iov = &slice;
  message.msg_iovlen = 1;
  message.msg_control = attachment.bytes;
  message.msg_controllen = sizeof(attachment.bytes);
  const absl::StatusOr<std::optional<size_t>> size = Receive(socket, message);
  if (!size.ok()) return size.status();
  if (!size->has_value()) return std::nullopt;
  BrokerReply reply;
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len == CMSG_LEN(sizeof(int))) {
    int fd;
    std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    reply.connection.Reset(fd);
  }
  if (**size != sizeof(wire)) {
    return absl::InvalidArgumentError("the broker sent what is no reply");
  }
  reply.id = wire.id;
  reply.error = wire.error;
  if (reply.error == 0 && !reply.connection.valid()) reply.error = EMFILE;
  return reply;
}

}  // namespace hull::sandbox
