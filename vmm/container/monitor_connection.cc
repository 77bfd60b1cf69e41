#include "vmm/container/monitor_connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::container {
namespace {

// A monitor never blocks: one that does not accept for so long is stopped, or its host is.
constexpr time_t kConnectSeconds = 10;

absl::Status WrongVersion(uint32_t version) {
  return absl::FailedPreconditionError(absl::StrCat("the container's monitor speaks version ",
                                                    version, " of the attach protocol, this hull ",
                                                    uint32_t{kAttachVersion}));
}

}  // namespace

absl::StatusOr<UniqueFd> ConnectToMonitor(const std::string& run_directory) {
  const std::string path = absl::StrCat(run_directory, "/", kAttachSocketName);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", path, "\" is too long for a socket"));
  }
  memcpy(address.sun_path, path.data(), path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return PosixError("create a socket");
  const timeval timeout = {.tv_sec = kConnectSeconds, .tv_usec = 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  // SAFETY: what every socket address is passed as.
  while (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == EINTR) continue;
    if (errno == ENOENT || errno == ECONNREFUSED) {
      return absl::NotFoundError("the container's monitor does not listen");
    }
    if (errno == EAGAIN) {
      return absl::UnavailableError("the container's monitor does not answer");
    }
    return PosixError(absl::StrCat("connect to \"", path, "\""));
  }
  return socket;
}

MonitorConnection::MonitorConnection(UniqueFd socket)
    : socket_(std::move(socket)), buffer_(new char[kMaxAttachFrame]) {}

absl::Status MonitorConnection::Send(const AttachFrame& frame) {
  const std::string message = EncodeAttachFrame(frame);
  while (send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return PosixError("speak to the container's monitor");
  }
  return absl::OkStatus();
}

absl::StatusOr<MonitorConnection::Event> MonitorConnection::Await(bool until_start,
                                                                  absl::Duration timeout,
                                                                  int interrupt_fd) {
  const absl::Time end = absl::Now() + timeout;
  while (true) {
    pollfd fds[] = {{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                    {.fd = interrupt_fd, .events = POLLIN, .revents = 0}};
    // A wait that is too long for poll(2) is taken in pieces.
    const absl::Duration left = std::clamp(end - absl::Now(), absl::ZeroDuration(), absl::Hours(1));
    const int ready =
        poll(fds, 2,
             static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)))));
    if (ready < 0 && errno != EINTR) return PosixError("wait for the container's monitor");
    if (ready <= 0) {
      if (absl::Now() >= end) return Event::kTimeout;
      continue;
    }
    if (fds[0].revents != 0) {
      HULL_ASSIGN_OR_RETURN(const std::optional<Event> event, Receive(until_start));
      if (event.has_value()) return *event;
    } else if (fds[1].revents != 0) {
      return Event::kInterrupted;
    }
  }
}

absl::StatusOr<std::optional<MonitorConnection::Event>> MonitorConnection::Receive(
    bool until_start) {
  const ssize_t n = recv(socket_.get(), buffer_.get(), kMaxAttachFrame, MSG_DONTWAIT | MSG_TRUNC);
  // ECONNRESET says, once, that the monitor ended without reading all that it was sent.
  if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNRESET)) return std::nullopt;
  if (n < 0) return PosixError("listen to the container's monitor");
  if (n == 0) return Event::kLost;
  if (static_cast<size_t>(n) > kMaxAttachFrame) {
    return absl::InvalidArgumentError("attach protocol: a message that is too long");
  }
  HULL_ASSIGN_OR_RETURN(const AttachFrame frame, DecodeAttachFrame(absl::string_view(
                                                     buffer_.get(), static_cast<size_t>(n))));
  switch (frame.type) {
    case AttachType::kHello:
      if (frame.number != kAttachVersion) return WrongVersion(frame.number);
      return std::nullopt;
    case AttachType::kNotice:
      notices_.emplace_back(frame.data);
      return std::nullopt;
    case AttachType::kStarted:
      if (until_start) return Event::kStarted;
      return std::nullopt;
    case AttachType::kExited:
      outcome_ = {.exit_status = static_cast<int>(frame.number)};
      return Event::kEnded;
    case AttachType::kFailed:
      outcome_ = {.exit_status = static_cast<int>(frame.number), .error = std::string(frame.data)};
      return Event::kEnded;
    default:
      return std::nullopt;
  }
}

}  // namespace hull::container
