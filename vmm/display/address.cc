#include "vmm/display/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::display {
namespace {

constexpr int kBacklog = 4;
constexpr uint32_t kMaxPort = 65535;
constexpr uint32_t kLoopbackNet = 127;

// An address as the kernel takes it.
struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;
};

std::optional<SocketAddress> ToSocketAddress(const Address& address) {
  SocketAddress result;
  if (IsUnixSocket(address)) {
    sockaddr_un local = {};
    local.sun_family = AF_UNIX;
    // With the zero at its end.
    if (address.host.size() >= sizeof(local.sun_path)) return std::nullopt;
    std::memcpy(local.sun_path, address.host.data(), address.host.size());
    std::memcpy(&result.storage, &local, sizeof(local));
    result.size = sizeof(local);
    return result;
  }
  sockaddr_in v4 = {};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(address.port);
  if (inet_pton(AF_INET, address.host.c_str(), &v4.sin_addr) == 1) {
    std::memcpy(&result.storage, &v4, sizeof(v4));
    result.size = sizeof(v4);
    return result;
  }
  sockaddr_in6 v6 = {};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(address.port);
  if (inet_pton(AF_INET6, address.host.c_str(), &v6.sin6_addr) != 1) return std::nullopt;
  std::memcpy(&result.storage, &v6, sizeof(v6));
  result.size = sizeof(v6);
  return result;
}

// Removes the Unix socket of a display that has ended. Nothing else.
void RemoveStale(const std::string& path, const SocketAddress& where) {
  struct stat found;
  if (lstat(path.c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) return;
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&where.storage), where.size) != 0 &&
      errno == ECONNREFUSED) {
    unlink(path.c_str());
  }
}

absl::StatusOr<UniqueFd> ListenOnce(const Address& address) {
  const std::optional<SocketAddress> where = ToSocketAddress(address);
  if (!where.has_value()) return absl::InvalidArgumentError("--display: no address in numbers");
  UniqueFd socket(
      ::socket(where->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return PosixError("--display: create a socket");
  // A display that has just ended keeps no new one from its port.
  const int on = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const bool unix_socket = IsUnixSocket(address);
  if (unix_socket) RemoveStale(address.host, *where);
  // What is bound gets the socket's own mode: nobody else ever sees it as theirs.
  if ((unix_socket && fchmod(socket.get(), S_IRUSR | S_IWUSR) != 0) ||
      bind(socket.get(), reinterpret_cast<const sockaddr*>(&where->storage), where->size) != 0 ||
      listen(socket.get(), kBacklog) != 0) {
    if (errno == EADDRINUSE && unix_socket) {
      return absl::AlreadyExistsError(
          absl::StrCat("--display: ", address.host, " exists; name another path, or remove it"));
    }
    if (errno == EADDRINUSE) {
      return absl::AlreadyExistsError(absl::StrCat(
          "--display: another program listens on ", AddressText(address),
          "; name another port, or none for the first from ", kFirstPort, " on that is free"));
    }
    return PosixError(absl::StrCat("--display: listen on ", AddressText(address)));
  }
  return socket;
}

}  // namespace

absl::StatusOr<Address> ParseDisplayFlag(absl::string_view text) {
  Address address;
  if (text == "vnc") return address;
  const auto bad = [text](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("--display ", absl::CHexEscape(text), ": ", why));
  };
  if (!absl::ConsumePrefix(&text, "vnc=")) {
    return bad("it takes vnc, vnc=ADDR:PORT or vnc=/PATH of a Unix socket");
  }
  if (absl::StartsWith(text, "/")) {
    address.host = std::string(text);
    if (absl::StrContains(text, '\0') || !ToSocketAddress(address).has_value()) {
      return bad("the path of a Unix socket has at most 107 characters");
    }
    return address;
  }
  const size_t colon = text.rfind(':');
  uint32_t port = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(text.substr(colon + 1), &port) ||
      port == 0 || port > kMaxPort) {
    return bad("a port of 1 to 65535 has to follow the address, as in vnc=127.0.0.1:5900");
  }
  address.port = static_cast<uint16_t>(port);
  absl::string_view host = text.substr(0, colon);
  const bool bracketed = absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
  address.host = host == "localhost" ? "127.0.0.1" : std::string(host);
  if (!ToSocketAddress(address).has_value() || absl::StrContains(host, ':') != bracketed) {
    return bad("the address is one in numbers ([::1] for IPv6), or localhost");
  }
  return address;
}

bool IsUnixSocket(const Address& address) { return absl::StartsWith(address.host, "/"); }

std::string AddressText(const Address& address) {
  if (IsUnixSocket(address)) return address.host;
  const bool v6 = absl::StrContains(address.host, ':');
  return absl::StrCat(v6 ? "[" : "", address.host, v6 ? "]:" : ":", address.port);
}

bool IsLoopback(const Address& address) {
  const std::optional<SocketAddress> where = ToSocketAddress(address);
  if (!where.has_value()) return false;
  if (where->storage.ss_family == AF_UNIX) return true;
  if (where->storage.ss_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &where->storage, sizeof(v4));
    return ntohl(v4.sin_addr.s_addr) >> 24 == kLoopbackNet;
  }
  sockaddr_in6 v6;
  std::memcpy(&v6, &where->storage, sizeof(v6));
  return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

absl::StatusOr<UniqueFd> Listen(Address* address) {
  if (address->port != 0 || IsUnixSocket(*address)) return ListenOnce(*address);
  for (uint16_t i = 0; i < kTriedPorts; ++i) {
    Address tried = {.host = address->host, .port = static_cast<uint16_t>(kFirstPort + i)};
    absl::StatusOr<UniqueFd> socket = ListenOnce(tried);
    if (absl::IsAlreadyExists(socket.status())) continue;
    if (socket.ok()) *address = tried;
    return socket;
  }
  return absl::ResourceExhaustedError(absl::StrCat("--display: none of the ports ", kFirstPort,
                                                   " to ", kFirstPort + kTriedPorts - 1,
                                                   " is free; name another"));
}

}  // namespace hull::display
