// Both ends of the vsock tests: as PID 1 of a guest it runs the cases below against the real guest
// kernel's vsock, otherwise it is the host that they talk to, a process a connection.
//
//   vsock_peer SOCKET    serves SOCKET_<port> for each port below, until the guest's report ends;
//                        copies the report, a line "ok NAME" or "FAIL NAME: why" a case, to stdout
//
// The reports travel over vsock too (port 1024): no report at all is a failure of the first case.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
// After sys/socket.h, whose types it needs.
#include <linux/vm_sockets.h>

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kReport = 1024;
constexpr int kEcho = 2000;         // sends everything back
constexpr int kChecksum = 2001;     // answers "<bytes> <checksum>" at the end of the stream
constexpr int kSource = 2002;       // sends as many bytes of the pattern as the first line asks
constexpr int kDies = 2003;         // closes at once
constexpr int kDiesUnread = 2004;   // closes with bytes unread
constexpr int kConnectBack = 2005;  // connects to the guest's port of the first line
constexpr int kNobody = 2999;       // nobody listens here
constexpr int kPorts[] = {kReport, kEcho, kChecksum, kSource, kDies, kDiesUnread, kConnectBack};

constexpr size_t kMiB = 1 << 20;
constexpr size_t kBulk = 32 * kMiB;
constexpr int kConnectionsAtOnce = 300;
constexpr int kConnectionsInARow = 500;
// Longer than all cases together need in the emulated host; a hang ends by it.
constexpr unsigned kDeadlineSeconds = 240;

// A megabyte without a short period, so that a lost or repeated block shows.
const std::string& Pattern() {
  static const std::string pattern = [] {
    std::string bytes(kMiB, '\0');
    uint32_t state = 1;
    for (char& byte : bytes) {
      state = state * 1664525 + 1013904223;
      byte = static_cast<char>(state >> 24);
    }
    return bytes;
  }();
  return pattern;
}

uint64_t Checksum(uint64_t sum, const char* data, size_t size) {
  for (size_t i = 0; i < size; i++) sum = sum * 31 + static_cast<unsigned char>(data[i]);
  return sum;
}

bool SendAll(int fd, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

bool SendAll(int fd, const std::string& text) { return SendAll(fd, text.data(), text.size()); }

// Up to the end of the stream, or `limit` bytes.
std::string ReceiveText(int fd, size_t limit = 4096) {
  std::string text;
  char byte;
  while (text.size() < limit && read(fd, &byte, 1) == 1) text += byte;
  return text;
}

// -- the host -------------------------------------------------------------------------------------

sockaddr_un UnixAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    fprintf(stderr, "vsock_peer: the path %s is too long\n", path.c_str());
    exit(2);
  }
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

void ServeEcho(int fd) {
  static char buffer[65536];
  ssize_t got;
  while ((got = read(fd, buffer, sizeof(buffer))) > 0 &&
         SendAll(fd, buffer, static_cast<size_t>(got))) {
  }
}

void ServeChecksum(int fd) {
  static char buffer[65536];
  uint64_t size = 0, sum = 0;
  ssize_t got;
  while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
    size += static_cast<uint64_t>(got);
    sum = Checksum(sum, buffer, static_cast<size_t>(got));
  }
  SendAll(fd, std::to_string(size) + " " + std::to_string(sum));
}

void ServeSource(int fd) {
  char line[32] = {};
  if (read(fd, line, sizeof(line) - 1) <= 0) return;
  for (uint64_t left = strtoull(line, nullptr, 10); left > 0;) {
    const size_t part = left < kMiB ? left : kMiB;
    if (!SendAll(fd, Pattern().data(), part)) return;
    left -= part;
  }
  shutdown(fd, SHUT_WR);
  char byte;
  while (read(fd, &byte, 1) > 0) {
  }
}

void ServeConnectBack(int fd, const std::string& socket_path) {
  char line[32] = {};
  if (read(fd, line, sizeof(line) - 1) <= 0) return;
  const int back = socket(AF_UNIX, SOCK_STREAM, 0);
  const sockaddr_un address = UnixAddress(socket_path);
  if (connect(back, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    SendAll(fd, "cannot connect");
    return;
  }
  // The bytes after the line must reach the guest although they came with it.
  SendAll(back, std::string("CONNECT ") + line + "\nping");
  shutdown(back, SHUT_WR);
  const std::string answer = ReceiveText(back);
  SendAll(fd, answer.empty() ? "closed" : answer);
}

[[noreturn]] void Serve(int port, int fd, const std::string& socket_path) {
  switch (port) {
    case kEcho:
      ServeEcho(fd);
      break;
    case kChecksum:
      ServeChecksum(fd);
      break;
    case kSource:
      ServeSource(fd);
      break;
    case kDiesUnread: {
      // Bytes are there, and stay unread.
      pollfd readable{fd, POLLIN, 0};
      poll(&readable, 1, 10000);
      break;
    }
    case kConnectBack:
      ServeConnectBack(fd, socket_path);
      break;
    default:
      break;
  }
  _exit(0);
}

int Host(const std::string& socket_path) {
  signal(SIGCHLD, SIG_IGN);
  std::vector<pollfd> listeners;
  for (int port : kPorts) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const std::string path = socket_path + "_" + std::to_string(port);
    const sockaddr_un address = UnixAddress(path);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
        listen(fd, 512) != 0) {
      fprintf(stderr, "vsock_peer: cannot listen on %s: %s\n", path.c_str(), strerror(errno));
      return 2;
    }
    listeners.push_back({fd, POLLIN, 0});
  }
  int report = -1;
  while (true) {
    std::vector<pollfd> waited = listeners;
    waited.push_back({report, POLLIN, 0});
    if (poll(waited.data(), waited.size(), -1) < 0 && errno != EINTR) return 2;
    if (waited.back().revents != 0) {
      char buffer[4096];
      const ssize_t got = read(report, buffer, sizeof(buffer));
      if (got <= 0) return 0;
      if (write(STDOUT_FILENO, buffer, static_cast<size_t>(got)) != got) return 2;
    }
    for (size_t i = 0; i < listeners.size(); i++) {
      if (waited[i].revents == 0) continue;
      const int fd = accept4(listeners[i].fd, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      if (kPorts[i] == kReport) {
        report = fd;
        continue;
      }
      if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        // Only one process may hold a connection, or its end would not be the end of the stream.
        if (report >= 0) close(report);
        Serve(kPorts[i], fd, socket_path);
      }
      close(fd);
    }
  }
}

// -- the guest ------------------------------------------------------------------------------------

int report_fd = -1;

void Report(const char* name, bool passed, const std::string& why = "") {
  SendAll(report_fd, passed ? std::string("ok ") + name + "\n"
                            : std::string("FAIL ") + name + ": " + why + "\n");
}

int Connect(int port) {
  const int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_HOST;
  address.svm_port = static_cast<unsigned>(port);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

std::string Errno() { return strerror(errno); }

void NobodyListens() {
  const int fd = Connect(kNobody);
  Report("nobody_listens_is_a_reset", fd < 0 && errno == ECONNRESET,
         fd < 0 ? Errno() : "connected");
}

void RoundTripsAndHalfClose() {
  const int fd = Connect(kEcho);
  bool same = fd >= 0;
  for (int i = 0; i < 200 && same; i++) {
    char sent = static_cast<char>(i), got = 0;
    same = SendAll(fd, &sent, 1) && read(fd, &got, 1) == 1 && got == sent;
  }
  Report("round_trips", same, Errno());
  shutdown(fd, SHUT_WR);
  char byte;
  Report("half_close_then_end_of_file", read(fd, &byte, 1) == 0, Errno());
  close(fd);
}

// Reads to the end of the stream; how many bytes, and whether they are the pattern.
uint64_t ReceivePattern(int fd, bool* intact) {
  std::vector<char> buffer(65536);
  uint64_t size = 0;
  ssize_t got;
  *intact = true;
  while ((got = read(fd, buffer.data(), buffer.size())) > 0) {
    for (ssize_t i = 0; i < got; i++)
      if (buffer[static_cast<size_t>(i)] != Pattern()[(size + static_cast<size_t>(i)) % kMiB])
        *intact = false;
    size += static_cast<uint64_t>(got);
  }
  return size;
}

void BothWaysAtOnce() {
  const int fd = Connect(kEcho);
  std::thread sender([fd] {
    for (size_t sent = 0; sent < kBulk; sent += kMiB) {
      if (!SendAll(fd, Pattern())) break;
    }
    shutdown(fd, SHUT_WR);
  });
  bool intact;
  const uint64_t size = ReceivePattern(fd, &intact);
  sender.join();
  Report("both_ways_at_once", intact && size == kBulk, std::to_string(size) + " bytes came back");
  close(fd);
}

void BulkToHost() {
  const int fd = Connect(kChecksum);
  uint64_t sum = 0;
  for (size_t sent = 0; sent < kBulk; sent += kMiB) {
    if (!SendAll(fd, Pattern())) break;
    sum = Checksum(sum, Pattern().data(), kMiB);
  }
  shutdown(fd, SHUT_WR);
  const std::string answer = ReceiveText(fd);
  Report("bulk_to_host", answer == std::to_string(kBulk) + " " + std::to_string(sum),
         "the host got " + answer);
  close(fd);
}

void BulkFromHost() {
  const int fd = Connect(kSource);
  SendAll(fd, std::to_string(kBulk));
  bool intact;
  const uint64_t size = ReceivePattern(fd, &intact);
  Report("bulk_from_host", intact && size == kBulk, std::to_string(size) + " bytes came");
  Report("send_after_the_other_end_closed_its_half", SendAll(fd, "x", 1), Errno());
  close(fd);
}

void HostDies() {
  int fd = Connect(kDies);
  char byte;
  Report("host_dies_is_end_of_file", read(fd, &byte, 1) == 0, Errno());
  int error = 0;
  for (int i = 0; i < 500 && error == 0; i++) {
    if (send(fd, "x", 1, MSG_NOSIGNAL) < 0) error = errno;
    usleep(10000);
  }
  Report("host_dies_then_send_fails", error == EPIPE || error == ECONNRESET || error == ENOTCONN,
         strerror(error));
  close(fd);
  fd = Connect(kDiesUnread);
  SendAll(fd, "0123456789");
  Report("host_dies_with_bytes_unread", read(fd, &byte, 1) <= 0, "a byte came");
  close(fd);
}

void HundredsAtOnce() {
  std::vector<int> fds;
  for (int i = 0; i < kConnectionsAtOnce; i++) {
    const int fd = Connect(kEcho);
    if (fd < 0) break;
    fds.push_back(fd);
  }
  Report("hundreds_at_once", fds.size() == kConnectionsAtOnce,
         std::to_string(fds.size()) + " connected, then: " + Errno());
  for (size_t i = 0; i < fds.size(); i++) SendAll(fds[i], "connection " + std::to_string(i));
  size_t own = 0;
  for (size_t i = 0; i < fds.size(); i++) {
    const std::string expected = "connection " + std::to_string(i);
    if (ReceiveText(fds[i], expected.size()) == expected) own++;
  }
  Report("hundreds_each_with_its_own_bytes", own == kConnectionsAtOnce,
         std::to_string(own) + " did");
  for (int fd : fds) close(fd);
}

void HundredsInARow() {
  int done = 0;
  for (; done < kConnectionsInARow; done++) {
    const int fd = Connect(kEcho);
    char byte = 'a';
    const bool same = fd >= 0 && SendAll(fd, &byte, 1) && read(fd, &byte, 1) == 1;
    if (fd >= 0) close(fd);
    if (!same) break;
  }
  Report("hundreds_in_a_row", done == kConnectionsInARow, std::to_string(done) + " worked");
}

void HostConnects() {
  const int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_ANY;
  address.svm_port = 52;
  Report("guest_listens",
         bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
             listen(listener, 8) == 0,
         Errno());
  int fd = Connect(kConnectBack);
  SendAll(fd, "52");
  const int accepted = accept(listener, nullptr, nullptr);
  const std::string ping = ReceiveText(accepted);
  Report("host_connects_and_sends_with_the_first_line", ping == "ping", "got " + ping);
  SendAll(accepted, "pong");
  close(accepted);
  const std::string answer = ReceiveText(fd);
  Report("host_gets_ok_and_the_answer",
         answer.rfind("OK ", 0) == 0 && answer.size() > 5 &&
             answer.compare(answer.size() - 5, 5, "\npong") == 0,
         "got " + answer);
  close(fd);
  fd = Connect(kConnectBack);
  SendAll(fd, "53");
  const std::string closed = ReceiveText(fd);
  Report("host_connects_where_nobody_listens", closed == "closed", "got " + closed);
  close(fd);
  close(listener);
}

[[noreturn]] void Guest() {
  // A handler, as the kernel spares PID 1 the default action.
  signal(SIGALRM, [](int) { reboot(RB_POWER_OFF); });
  alarm(kDeadlineSeconds);
  const rlimit files{4096, 4096};
  setrlimit(RLIMIT_NOFILE, &files);
  // The transport may still be probing.
  for (int i = 0; i < 1000 && report_fd < 0; i++) {
    report_fd = Connect(kReport);
    if (report_fd < 0) usleep(10000);
  }
  NobodyListens();
  RoundTripsAndHalfClose();
  BothWaysAtOnce();
  BulkToHost();
  BulkFromHost();
  HostDies();
  HundredsAtOnce();
  HundredsInARow();
  HostConnects();
  SendAll(report_fd, "end\n");
  close(report_fd);
  reboot(RB_POWER_OFF);
  while (true) pause();
}

}  // namespace

int main(int argc, char** argv) {
  if (getpid() == 1) Guest();
  if (argc != 2) {
    fprintf(stderr, "usage: vsock_peer SOCKET\n");
    return 2;
  }
  return Host(argv[1]);
}
