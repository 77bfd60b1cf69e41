// As root of a guest, asks the VMM for as much as vsock lets it: connections to every port that may
// have somebody behind it, kept open, written to until nothing more is taken, and never read.
//
//   vsock_flood SECONDS    prints how many connections were made, and bytes sent

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
// After sys/socket.h, whose types it needs.
#include <linux/vm_sockets.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

constexpr unsigned kPorts = 4096;
constexpr size_t kKept = 512;

time_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

int Connect(unsigned port) {
  const int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  sockaddr_vm address = {};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_HOST;
  address.svm_port = port;
  const int result = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (result == 0 || errno == EINPROGRESS) return fd;
  close(fd);
  return -1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: vsock_flood SECONDS\n");
    return 2;
  }
  const time_t end = Now() + atoi(argv[1]);
  std::array<char, 65536> noise;
  for (size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<char>(i * 37);
  std::vector<int> open;
  uint64_t asked = 0;
  uint64_t sent = 0;
  while (Now() < end) {
    const int fd = Connect(static_cast<unsigned>(asked++ % kPorts));
    if (fd >= 0) open.push_back(fd);
    for (const int each : open) {
      const ssize_t size = send(each, noise.data(), noise.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (size > 0) sent += static_cast<uint64_t>(size);
    }
    if (open.size() < kKept) continue;
    // Half of them go at once, with whatever is on its way.
    for (size_t i = 0; i < open.size() / 2; ++i) close(open[i]);
    open.erase(open.begin(), open.begin() + static_cast<ptrdiff_t>(open.size() / 2));
  }
  printf("vsock_flood: %llu connections asked for, %llu bytes sent\n",
         static_cast<unsigned long long>(asked), static_cast<unsigned long long>(sent));
  return 0;
}
