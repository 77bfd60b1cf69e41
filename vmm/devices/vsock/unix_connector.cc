#include "vmm/devices/vsock/unix_connector.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "vmm/base/posix_error.h"

namespace hull::vsock {
namespace {

// A full backlog of a Unix socket wakes nobody when it has room again (unlike TCP, connect(2) says
// EAGAIN instead of going on in the background), so the only way without a thread is to come back.
constexpr absl::Duration kRetryInterval = absl::Milliseconds(10);

constexpr int kBacklog = 128;

static_assert(UnixConnector::kMaxPrefix + sizeof("_4294967295") <=
              sizeof(reinterpret_cast<sockaddr_un*>(0)->sun_path));

absl::StatusOr<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("socket path \"", path,
                                                   "\" is empty or longer than ",
                                                   sizeof(address.sun_path) - 1, " bytes"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

absl::StatusOr<UniqueFd> NewSocket() {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return PosixError("create a Unix socket");
  return fd;
}

// 0 or an errno.
int ConnectTo(const UniqueFd& fd, const sockaddr_un& address) {
  // SAFETY: sockaddr_un is one of the types that sockaddr stands for.
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  return connect(fd.get(), generic, sizeof(address)) == 0 ? 0 : errno;
}

}  // namespace

UnixConnector::UnixConnector(std::string prefix, EventLoop* loop)
    : prefix_(std::move(prefix)), loop_(loop) {}

UnixConnector::~UnixConnector() {
  if (timer_.has_value()) loop_->CancelTimer(*timer_);
}

HostConnector::RequestId UnixConnector::Connect(uint32_t port, Done done) {
  absl::StatusOr<UniqueFd> socket = NewSocket();
  if (!socket.ok()) {
    done(socket.status());
    return ++last_id_;
  }
  Request request{.socket = *std::move(socket),
                  .path = absl::StrCat(prefix_, "_", port),
                  .done = std::move(done)};
  const std::optional<absl::Status> result = Try(request);
  if (!result.has_value()) {
    waiting_.emplace(++last_id_, std::move(request));
    RetryLater();
  } else if (result->ok()) {
    request.done(std::move(request.socket));
  } else {
    request.done(*result);
  }
  return last_id_;
}

void UnixConnector::Cancel(RequestId id) { waiting_.erase(id); }

std::optional<absl::Status> UnixConnector::Try(const Request& request) {
  const absl::StatusOr<sockaddr_un> address = AddressOf(request.path);
  if (!address.ok()) return address.status();
  const int error = ConnectTo(request.socket, *address);
  if (error == EAGAIN) return std::nullopt;
  if (error == 0) return absl::OkStatus();
  return PosixError(error, absl::StrCat("connect to \"", request.path, "\""));
}

void UnixConnector::RetryLater() {
  if (timer_.has_value()) return;
  timer_ = loop_->AddTimer(kRetryInterval, [this] {
    timer_.reset();
    RetryAll();
  });
}

void UnixConnector::RetryAll() {
  // A callback may cancel other requests, so each id is looked up again.
  std::vector<RequestId> ids;
  for (const auto& [id, request] : waiting_) ids.push_back(id);
  for (const RequestId id : ids) {
    const auto found = waiting_.find(id);
    if (found == waiting_.end()) continue;
    const std::optional<absl::Status> result = Try(found->second);
    if (!result.has_value()) continue;
    Request request = std::move(found->second);
    waiting_.erase(found);
    if (result->ok()) {
      request.done(std::move(request.socket));
    } else {
      request.done(*result);
    }
  }
  if (!waiting_.empty()) RetryLater();
}

absl::StatusOr<UniqueFd> ListenOnUnixSocket(const std::string& path) {
  const absl::StatusOr<sockaddr_un> address = AddressOf(path);
  if (!address.ok()) return address.status();
  absl::StatusOr<UniqueFd> fd = NewSocket();
  if (!fd.ok()) return fd;
  // bind(2) gives the file the socket's own mode, so it is never reachable by others, not even for
  // the moment before a chmod.
  if (fchmod(fd->get(), 0600) != 0) return PosixError("restrict the mode of a Unix socket");
  // SAFETY: as in ConnectTo.
  const auto* generic = reinterpret_cast<const sockaddr*>(&*address);
  if (bind(fd->get(), generic, sizeof(*address)) != 0) {
    if (errno != EADDRINUSE) return PosixError(absl::StrCat("bind \"", path, "\""));
    // Left behind by a process that was killed, or in use?
    struct stat existing;
    const bool is_socket = lstat(path.c_str(), &existing) == 0 && S_ISSOCK(existing.st_mode);
    absl::StatusOr<UniqueFd> probe = NewSocket();
    if (!probe.ok()) return probe;
    if (!is_socket || ConnectTo(*probe, *address) != ECONNREFUSED) {
      return absl::AlreadyExistsError(
          absl::StrCat("\"", path, "\" exists and is ",
                       is_socket ? "in use by another process" : "not a socket"));
    }
    if (unlink(path.c_str()) != 0) return PosixError(absl::StrCat("remove \"", path, "\""));
    if (bind(fd->get(), generic, sizeof(*address)) != 0) {
      return PosixError(absl::StrCat("bind \"", path, "\""));
    }
  }
  if (listen(fd->get(), kBacklog) != 0) {
    const absl::Status status = PosixError(absl::StrCat("listen on \"", path, "\""));
    unlink(path.c_str());
    return status;
  }
  return fd;
}

}  // namespace hull::vsock
