// The host's half of vsock_exchange.h, with the clock.
//
//   vsock_host unix:PATH     listens where hull-vmm connects the guest to (PATH is
//   <host_socket>_5000) vsock_host vsock         listens on the host's own vsock, which vhost
//   serves
//
// Takes one connection (for which it waits until it is killed) and prints three lines, fields
// separated by tabs: "vsock", name, nanoseconds of CLOCK_MONOTONIC for one round trip, or for one
// MiB.

#include <linux/vm_sockets.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "tests/bench/vsock_exchange.h"

namespace {

using hull::bench::kMessage;
using hull::bench::kRoundTrips;
using hull::bench::kStream;
using hull::bench::ReceiveAll;
using hull::bench::SendAll;

int64_t Nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{1'000'000'000} * now.tv_sec + now.tv_nsec;
}

int Listen(std::string_view where) {
  sockaddr_un unix_address = {};
  sockaddr_vm vsock_address = {};
  sockaddr* address = nullptr;
  socklen_t size = 0;
  if (where.starts_with("unix:") && where.size() - 5 < sizeof(unix_address.sun_path)) {
    unix_address.sun_family = AF_UNIX;
    std::memcpy(unix_address.sun_path, where.data() + 5, where.size() - 5);
    // SAFETY: the generic form in which bind(2) takes every address; so below.
    address = reinterpret_cast<sockaddr*>(&unix_address);
    size = sizeof(unix_address);
  } else {
    vsock_address.svm_family = AF_VSOCK;
    vsock_address.svm_cid = VMADDR_CID_ANY;
    vsock_address.svm_port = hull::bench::kPort;
    address = reinterpret_cast<sockaddr*>(&vsock_address);
    size = sizeof(vsock_address);
  }
  const int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, address, size) != 0 || listen(fd, 1) != 0) return -1;
  return fd;
}

bool Exchange(int fd) {
  int64_t start = Nanoseconds();
  for (int i = 0; i < kRoundTrips; ++i) {
    if (!ReceiveAll(fd, kMessage) || !SendAll(fd, kMessage)) return false;
  }
  int64_t end = Nanoseconds();
  std::printf("vsock\tround-trip\t%" PRId64 "\n", (end - start) / kRoundTrips);
  start = end;
  if (!ReceiveAll(fd, kStream) || !SendAll(fd, 1)) return false;
  end = Nanoseconds();
  std::printf("vsock\tto-host\t%" PRId64 "\n", (end - start) / (kStream >> 20));
  start = end;
  if (!SendAll(fd, kStream) || !ReceiveAll(fd, 1)) return false;
  std::printf("vsock\tto-guest\t%" PRId64 "\n", (Nanoseconds() - start) / (kStream >> 20));
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: vsock_host unix:PATH|vsock\n", stderr);
    return 2;
  }
  const int listener = Listen(argv[1]);
  const int connection = listener < 0 ? -1 : accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (connection < 0 || !Exchange(connection)) {
    std::perror("vsock_host");
    return 1;
  }
  return 0;
}
