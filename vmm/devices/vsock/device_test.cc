#include "vmm/devices/vsock/device.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "vmm/devices/vsock/guest_for_test.h"
#include "vmm/devices/vsock/wire.h"
#include "vmm/event/event_loop.h"

namespace hull::vsock {
namespace {

constexpr uint32_t kPort = 1024;        // Of the host's listener.
constexpr uint32_t kGuestPort = 50000;  // Of the guest's socket.

int OpenDescriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<int>(std::distance(begin(all), end(all)));
}

// A byte stream that can be checked at any position.
const std::string& Pattern() {
  static const std::string* const pattern = [] {
    auto* bytes = new std::string(1'000'003 + 2 * kMaxPayload, '\0');
    uint32_t state = 1;
    for (size_t i = 0; i < 1'000'003; ++i) {
      state = state * 1664525 + 1013904223;
      (*bytes)[i] = static_cast<char>(state >> 24);
    }
    std::copy_n(bytes->begin(), 2 * kMaxPayload, bytes->begin() + 1'000'003);
    return bytes;
  }();
  return *pattern;
}
absl::string_view PatternAt(uint64_t position, size_t size) {
  return absl::string_view(Pattern()).substr(position % 1'000'003, size);
}

// Never answers: a listener that is not there yet, and no way to know.
class SilentConnector : public HostConnector {
 public:
  explicit SilentConnector(int* waiting) : waiting_(waiting) {}
  RequestId Connect(uint32_t, Done) override {
    ++*waiting_;
    return ++last_;
  }
  void Cancel(RequestId) override { --*waiting_; }

 private:
  int* const waiting_;
  RequestId last_ = 0;
};

class DeviceTest : public testing::Test {
 protected:
  DeviceTest() {
    char name[] = "/tmp/vsock.XXXXXX";
    directory_ = mkdtemp(name);
    socket_ = directory_ + "/s";
    loop_ = *EventLoop::Create();
  }
  ~DeviceTest() override {
    guest_.reset();
    device_.reset();
    std::filesystem::remove_all(directory_);
  }

  void Start(Limits limits = {}, uint32_t rx_buffer_size = 4096,
             std::unique_ptr<HostConnector> connector = nullptr) {
    absl::StatusOr<std::shared_ptr<Device>> device =
        Device::Create(Config{.guest_cid = GuestForTest::kCid,
                              .host_socket = socket_,
                              .connector = std::move(connector),
                              .limits = limits},
                       loop_.get());
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    guest_.emplace(device_, rx_buffer_size);
    ASSERT_TRUE(guest_->Start());
    Spin();
  }

  static sockaddr_un Address(const std::string& path) {
    sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    return address;
  }

  UniqueFd Listen(uint32_t port, int backlog = 512) {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_un address = Address(absl::StrCat(socket_, "_", port));
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(fd.get(), backlog), 0);
    return fd;
  }

  static UniqueFd Accept(const UniqueFd& listener) {
    return UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  }

  UniqueFd ConnectToDevice() {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_un address = Address(socket_);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }

  // Lets the device do all that it can do now.
  void Spin() {
    for (int i = 0; i < 3; ++i) {
      while (*loop_->RunOnce(absl::ZeroDuration())) {
      }
      if (guest_.has_value()) guest_->Poll();
    }
  }

  bool SpinUntil(const std::function<bool()>& done, absl::Duration limit = absl::Seconds(60)) {
    const absl::Time deadline = absl::Now() + limit;
    while (!done()) {
      if (absl::Now() > deadline) return false;
      (void)loop_->RunOnce(absl::Milliseconds(1));
      guest_->Poll();
    }
    return true;
  }

  // The next packet to the guest, or one of operation 0.
  Packet Next() {
    Spin();
    if (guest_->received().empty()) return Packet{};
    Packet packet = guest_->received().front();
    guest_->received().pop_front();
    return packet;
  }
  // Its operation, with the flags of a SHUTDOWN: "4/3".
  std::string NextOp() {
    const Packet packet = Next();
    if (packet.header.op == kOpShutdown) return absl::StrCat("4/", packet.header.flags);
    return absl::StrCat(packet.header.op);
  }

  // A connection from the guest to a listener of the host.
  UniqueFd GuestConnects(const UniqueFd& listener, uint32_t guest_port = kGuestPort,
                         uint32_t port = kPort) {
    EXPECT_TRUE(guest_->Send(kOpRequest, guest_port, port));
    EXPECT_EQ(NextOp(), absl::StrCat(kOpResponse));
    UniqueFd host = Accept(listener);
    EXPECT_TRUE(host.valid());
    return host;
  }

  // What can be read now, at most `limit` bytes; then "<EOF>" or "<errno>" if that is what follows.
  static std::string ReadNow(const UniqueFd& fd, size_t limit = 1 << 20) {
    std::string result;
    std::vector<char> buffer(limit);
    while (result.size() < limit) {
      const ssize_t size = read(fd.get(), buffer.data(), limit - result.size());
      if (size > 0) {
        result.append(buffer.data(), size);
      } else {
        if (size == 0) result += "<EOF>";
        if (size < 0 && errno != EAGAIN) result += absl::StrCat("<", strerror(errno), ">");
        break;
      }
    }
    return result;
  }
  static ssize_t WriteNow(const UniqueFd& fd, absl::string_view data) {
    return send(fd.get(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  std::string directory_;
  std::string socket_;
  std::unique_ptr<EventLoop> loop_;
  std::shared_ptr<Device> device_;
  std::optional<GuestForTest> guest_;
};

// --- What the driver sees.

TEST_F(DeviceTest, ConfigurationSpace) {
  Start();
  EXPECT_EQ(guest_->driver().ReadRegister(virtio::kMmioDeviceId), 19u);
  EXPECT_EQ(guest_->driver().ReadConfig<uint64_t>(0), GuestForTest::kCid);
  EXPECT_EQ(guest_->driver().ReadConfig<uint32_t>(4), 0u);
  EXPECT_EQ(guest_->driver().ReadConfig<uint64_t>(4), 0u);
  EXPECT_EQ(guest_->driver().ReadConfig<uint64_t>(8), 0u);
  EXPECT_EQ(guest_->driver().ReadConfig<uint64_t>(0x800), 0u);
  EXPECT_EQ(guest_->driver().OfferedFeatures() & 0xffffff, 0u);
}

TEST_F(DeviceTest, BadConfigurations) {
  const auto code = [this](uint32_t cid, std::string path) {
    return Device::Create(Config{.guest_cid = cid, .host_socket = std::move(path)}, loop_.get())
        .status()
        .code();
  };
  EXPECT_EQ(code(2, socket_), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(0xffffffff, socket_), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(3, ""), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(3, std::string(97, 'x')), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(3, directory_ + "/absent/s"), absl::StatusCode::kNotFound);
}

TEST_F(DeviceTest, SocketFile) {
  const auto create = [this] {
    return Device::Create(Config{.guest_cid = 3, .host_socket = socket_}, loop_.get());
  };
  {
    absl::StatusOr<std::shared_ptr<Device>> device = create();
    ASSERT_TRUE(device.ok());
    struct stat status;
    ASSERT_EQ(stat(socket_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    EXPECT_EQ(create().status().code(), absl::StatusCode::kAlreadyExists);
  }
  EXPECT_FALSE(std::filesystem::exists(socket_));
  // Left behind by a process that was killed.
  {
    UniqueFd stale(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = Address(socket_);
    ASSERT_EQ(bind(stale.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  ASSERT_TRUE(std::filesystem::exists(socket_));
  EXPECT_TRUE(create().ok());
  // Somebody's file.
  { const UniqueFd file = *UniqueFd::Open(socket_, O_CREAT | O_WRONLY, 0600); }
  EXPECT_EQ(create().status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::exists(socket_));
}

TEST_F(DeviceTest, InheritedListener) {
  UniqueFd listener = Listen(7);
  // As another program may hand it over.
  ASSERT_EQ(fcntl(listener.get(), F_SETFL, 0), 0);
  absl::StatusOr<std::shared_ptr<Device>> device = Device::Create(
      Config{.guest_cid = 3, .host_socket = socket_, .listener = std::move(listener)}, loop_.get());
  ASSERT_TRUE(device.ok());
  device_ = *std::move(device);
  guest_.emplace(device_);
  ASSERT_TRUE(guest_->Start());
  socket_ += "_7";
  UniqueFd host = ConnectToDevice();
  WriteNow(host, "CONNECT 52\n");
  EXPECT_EQ(Next().header.dst_port, 52u);
  guest_.reset();
  device_.reset();
  EXPECT_TRUE(std::filesystem::exists(socket_));
}

// Not with the sanitizers: their own check of virtual calls needs a descriptor.
#ifndef __SANITIZE_ADDRESS__
TEST_F(DeviceTest, OutOfDescriptors) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = ConnectToDevice();
  WriteNow(host, "CONNECT 52\n");
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  // The lowest free number is the one that the next descriptor would get.
  const int lowest = dup(listener.get());
  ASSERT_EQ(close(lowest), 0);
  const rlimit none = {.rlim_cur = static_cast<rlim_t>(lowest), .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  guest_->Send(kOpRequest, kGuestPort, kPort);
  // Refused to the guest; the host's process waits.
  EXPECT_EQ(NextOp(), "3");
  EXPECT_EQ(NextOp(), "0");
  EXPECT_EQ(ReadNow(host), "");
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(SpinUntil([&] { return !guest_->received().empty(); }));
  EXPECT_EQ(Next().header.dst_port, 52u);
}
#endif

// --- Connections of the guest.

TEST_F(DeviceTest, GuestConnectsAndTalks) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  ASSERT_TRUE(guest_->Send(kOpReadWrite, kGuestPort, kPort, "hello"));
  Spin();
  EXPECT_EQ(ReadNow(host), "hello");
  ASSERT_EQ(WriteNow(host, "world"), 5);
  const Packet packet = Next();
  EXPECT_EQ(packet.header.op, kOpReadWrite);
  EXPECT_EQ(packet.data, "world");
  EXPECT_EQ(packet.header.src_cid, kHostCid);
  EXPECT_EQ(packet.header.dst_cid, GuestForTest::kCid);
  EXPECT_EQ(packet.header.src_port, kPort);
  EXPECT_EQ(packet.header.dst_port, kGuestPort);
  EXPECT_EQ(packet.header.fwd_cnt, 5u);
  EXPECT_EQ(packet.header.buf_alloc, Limits().large_buffer);
  EXPECT_EQ(guest_->malformed(), 0);
}

TEST_F(DeviceTest, NobodyListens) {
  Start();
  const int before = OpenDescriptors();
  ASSERT_TRUE(guest_->Send(kOpRequest, kGuestPort, kPort));
  const Packet packet = Next();
  EXPECT_EQ(packet.header.op, kOpReset);
  EXPECT_EQ(packet.header.src_port, kPort);
  EXPECT_EQ(packet.header.dst_port, kGuestPort);
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(DeviceTest, FullBacklogIsWaitedFor) {
  Start();
  const UniqueFd listener = Listen(kPort, 0);
  ASSERT_TRUE(guest_->Send(kOpRequest, 1, kPort));
  EXPECT_EQ(NextOp(), "2");
  ASSERT_TRUE(guest_->Send(kOpRequest, 2, kPort));
  EXPECT_EQ(NextOp(), "0");
  EXPECT_TRUE(Accept(listener).valid());
  ASSERT_TRUE(SpinUntil([&] { return guest_->received().size() >= 2; }));
  // The first one's end of file, and the second's acceptance, in whatever order.
  std::set<uint32_t> accepted;
  while (!guest_->received().empty()) {
    const Packet packet = Next();
    if (packet.header.op == kOpResponse) accepted.insert(packet.header.dst_port);
  }
  EXPECT_EQ(accepted, std::set<uint32_t>{2});
}

TEST_F(DeviceTest, ConnectTimesOut) {
  int waiting = 0;
  Start({.connect_timeout = absl::Milliseconds(20)}, 4096,
        std::make_unique<SilentConnector>(&waiting));
  ASSERT_TRUE(guest_->Send(kOpRequest, 1, kPort));
  EXPECT_EQ(NextOp(), "0");
  EXPECT_EQ(waiting, 1);
  ASSERT_TRUE(SpinUntil([&] { return !guest_->received().empty(); }));
  EXPECT_EQ(NextOp(), "3");
  EXPECT_EQ(waiting, 0);
  // Given up by the guest.
  ASSERT_TRUE(guest_->Send(kOpRequest, 2, kPort));
  Spin();
  EXPECT_EQ(waiting, 1);
  ASSERT_TRUE(guest_->Send(kOpReset, 2, kPort));
  EXPECT_EQ(NextOp(), "0");
  EXPECT_EQ(waiting, 0);
}

// --- Connections of the host.

TEST_F(DeviceTest, HostConnectsAndTalks) {
  Start();
  const UniqueFd host = ConnectToDevice();
  // What follows the line waits for the guest.
  ASSERT_GT(WriteNow(host, "CONNECT 52\nearly"), 0);
  const Packet request = Next();
  EXPECT_EQ(request.header.op, kOpRequest);
  EXPECT_EQ(request.header.dst_port, 52u);
  const uint32_t host_port = request.header.src_port;
  EXPECT_GE(host_port, 1u << 30);
  EXPECT_EQ(NextOp(), "0");
  EXPECT_EQ(ReadNow(host), "");
  ASSERT_TRUE(guest_->Send(kOpResponse, 52, host_port));
  const Packet early = Next();
  EXPECT_EQ(early.header.op, kOpReadWrite);
  EXPECT_EQ(early.data, "early");
  ASSERT_TRUE(guest_->Send(kOpReadWrite, 52, host_port, "answer"));
  Spin();
  EXPECT_EQ(ReadNow(host), absl::StrCat("OK ", host_port, "\nanswer"));
}

TEST_F(DeviceTest, GuestRefusesTheHost) {
  Start();
  const UniqueFd host = ConnectToDevice();
  WriteNow(host, "CONNECT 52\n");
  const Packet request = Next();
  ASSERT_TRUE(guest_->Send(kOpReset, 52, request.header.src_port));
  Spin();
  EXPECT_EQ(ReadNow(host), "<EOF>");
}

TEST_F(DeviceTest, GuestNeverAnswersTheHost) {
  Start({.request_timeout = absl::Milliseconds(20)});
  const UniqueFd host = ConnectToDevice();
  WriteNow(host, "CONNECT 52\n");
  EXPECT_EQ(NextOp(), "1");
  ASSERT_TRUE(SpinUntil([&] { return !guest_->received().empty(); }));
  EXPECT_EQ(NextOp(), "3");
  EXPECT_EQ(ReadNow(host), "<EOF>");
}

TEST_F(DeviceTest, LineInPieces) {
  Start();
  const UniqueFd host = ConnectToDevice();
  for (const char c : absl::string_view("CONNECT 4294967294\n")) {
    EXPECT_EQ(NextOp(), "0");
    ASSERT_EQ(WriteNow(host, absl::string_view(&c, 1)), 1);
  }
  EXPECT_EQ(Next().header.dst_port, 4294967294u);
}

TEST_F(DeviceTest, MalformedLines) {
  Start();
  const int before = OpenDescriptors();
  for (const std::string line :
       {"CONNECT\n", "CONNECT \n", "connect 52\n", "CONNECT +52\n", "CONNECT  52\n",
        "CONNECT 52 \n", "CONNECT 4294967295\n", "CONNECT 4294967296\n", "CONNECT -1\n", "\n",
        "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "CONNECT 0000000000000000000000000000052\n"}) {
    const UniqueFd host = ConnectToDevice();
    ASSERT_GT(WriteNow(host, line), 0);
    EXPECT_EQ(NextOp(), "0") << line;
    const std::string answer = ReadNow(host);
    // A socket that is closed with unread bytes says so.
    EXPECT_TRUE(answer == "<EOF>" || answer == "<Connection reset by peer>") << line << answer;
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(DeviceTest, HostSaysNothing) {
  Start({.handshake_timeout = absl::Milliseconds(20)});
  const UniqueFd host = ConnectToDevice();
  Spin();
  EXPECT_EQ(ReadNow(host), "");
  ASSERT_TRUE(SpinUntil([&] { return ReadNow(host) == "<EOF>"; }));
}

TEST_F(DeviceTest, HostWaitsForTheDriver) {
  Start();
  guest_->driver().Reset();
  Spin();
  const UniqueFd host = ConnectToDevice();
  WriteNow(host, "CONNECT 52\n");
  Spin();
  EXPECT_EQ(ReadNow(host), "");
  ASSERT_TRUE(guest_->Start());
  EXPECT_EQ(NextOp(), "1");
}

// --- The end of connections.

TEST_F(DeviceTest, GuestHalfCloses) {
  Start();
  const int before = OpenDescriptors();
  {
    const UniqueFd listener = Listen(kPort);
    UniqueFd host = GuestConnects(listener);
    guest_->Send(kOpReadWrite, kGuestPort, kPort, "last");
    guest_->Send(kOpShutdown, kGuestPort, kPort, "", kShutdownSend);
    Spin();
    EXPECT_EQ(ReadNow(host), "last<EOF>");
    // The other direction goes on.
    ASSERT_EQ(WriteNow(host, "more"), 4);
    EXPECT_EQ(Next().data, "more");
    host.Reset();
    EXPECT_EQ(NextOp(), "4/3");
    guest_->Send(kOpReset, kGuestPort, kPort);
    EXPECT_EQ(NextOp(), "0");
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(DeviceTest, HostHalfCloses) {
  Start();
  const int before = OpenDescriptors();
  {
    const UniqueFd listener = Listen(kPort);
    UniqueFd host = GuestConnects(listener);
    ASSERT_EQ(WriteNow(host, "last"), 4);
    ASSERT_EQ(shutdown(host.get(), SHUT_WR), 0);
    EXPECT_EQ(Next().data, "last");
    EXPECT_EQ(NextOp(), "4/2");
    guest_->Send(kOpReadWrite, kGuestPort, kPort, "answer");
    Spin();
    EXPECT_EQ(ReadNow(host), "answer");
    // Closed by the guest altogether.
    guest_->Send(kOpShutdown, kGuestPort, kPort, "", kShutdownBoth);
    EXPECT_EQ(NextOp(), "3");
    EXPECT_EQ(ReadNow(host), "<EOF>");
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(DeviceTest, BothHalfClose) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  guest_->Send(kOpShutdown, kGuestPort, kPort, "", kShutdownSend);
  Spin();
  EXPECT_EQ(ReadNow(host), "<EOF>");
  ASSERT_EQ(shutdown(host.get(), SHUT_WR), 0);
  EXPECT_EQ(NextOp(), "4/3");
  guest_->Send(kOpReset, kGuestPort, kPort);
  EXPECT_EQ(NextOp(), "0");
  // The ports are free again.
  EXPECT_TRUE(GuestConnects(listener).valid());
}

TEST_F(DeviceTest, GuestStopsReading) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  guest_->Send(kOpShutdown, kGuestPort, kPort, "", kShutdownReceive);
  Spin();
  EXPECT_EQ(WriteNow(host, "x"), -1);
  EXPECT_EQ(errno, EPIPE);
  guest_->Send(kOpReadWrite, kGuestPort, kPort, "still");
  Spin();
  EXPECT_EQ(ReadNow(host), "still");
}

TEST_F(DeviceTest, HostStopsReading) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  ASSERT_EQ(shutdown(host.get(), SHUT_RD), 0);
  guest_->Send(kOpReadWrite, kGuestPort, kPort, "into the void");
  EXPECT_EQ(NextOp(), "4/1");
  ASSERT_EQ(WriteNow(host, "still"), 5);
  EXPECT_EQ(Next().data, "still");
}

TEST_F(DeviceTest, HostDies) {
  Start();
  const UniqueFd listener = Listen(kPort);
  {
    const UniqueFd host = GuestConnects(listener, 1);
    ASSERT_EQ(WriteNow(host, "last words"), 10);
  }
  // All it wrote, then the end of both directions.
  EXPECT_EQ(Next().data, "last words");
  EXPECT_EQ(NextOp(), "4/3");
  {
    const UniqueFd host = GuestConnects(listener, 2);
    guest_->Send(kOpReadWrite, 2, kPort, "never read");
    Spin();
  }
  // Bytes of the guest were lost: a reset.
  EXPECT_EQ(NextOp(), "3");
}

TEST_F(DeviceTest, CloseIsNotAnsweredByTheGuest) {
  Start({.close_timeout = absl::Milliseconds(20)});
  const UniqueFd listener = Listen(kPort);
  { const UniqueFd host = GuestConnects(listener); }
  EXPECT_EQ(NextOp(), "4/3");
  ASSERT_TRUE(SpinUntil([&] { return !guest_->received().empty(); }));
  EXPECT_EQ(NextOp(), "3");
  EXPECT_TRUE(GuestConnects(listener).valid());
}

TEST_F(DeviceTest, GuestCloseIsAnEndOfFileEvenIfTheHostsBytesAreUnread) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  // No credit: what the host writes stays in its socket.
  Header update = guest_->Make(kOpCreditUpdate, kGuestPort, kPort);
  update.buf_alloc = 0;
  ASSERT_TRUE(guest_->SendRaw(update, ""));
  Spin();
  ASSERT_EQ(WriteNow(host, "unread"), 6);
  EXPECT_EQ(NextOp(), "7");
  guest_->Send(kOpReadWrite, kGuestPort, kPort, "bye");
  Header shutdown = guest_->Make(kOpShutdown, kGuestPort, kPort, kShutdownBoth);
  shutdown.buf_alloc = 0;
  // The packet of data gave credit again, so the six bytes may have been sent before.
  guest_->SendRaw(shutdown, "");
  SpinUntil([&] {
    return !guest_->received().empty() && guest_->received().back().header.op == kOpReset;
  });
  EXPECT_EQ(ReadNow(host), "bye<EOF>");
}

TEST_F(DeviceTest, GuestResetsTheConnection) {
  Start();
  const int before = OpenDescriptors();
  {
    const UniqueFd listener = Listen(kPort);
    const UniqueFd host = GuestConnects(listener);
    guest_->Send(kOpReset, kGuestPort, kPort);
    EXPECT_EQ(NextOp(), "0");
    EXPECT_EQ(ReadNow(host), "<EOF>");
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(DeviceTest, SlowReaderGetsAllThatAClosedGuestSent) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  // As much as the host's socket and the device hold.
  uint64_t sent = 0;
  while (sent < Limits().large_buffer) {
    ASSERT_TRUE(guest_->Send(kOpReadWrite, kGuestPort, kPort, PatternAt(sent, 32768)));
    sent += 32768;
    Spin();
  }
  guest_->Send(kOpShutdown, kGuestPort, kPort, "", kShutdownBoth);
  EXPECT_EQ(NextOp(), "6");
  EXPECT_EQ(NextOp(), "0");
  std::string all;
  while (all.size() < sent) {
    all += ReadNow(host, std::min<size_t>(10'000, sent - all.size()));
    Spin();
  }
  EXPECT_EQ(NextOp(), "3");
  EXPECT_EQ(ReadNow(host), "<EOF>");
  EXPECT_EQ(all, PatternAt(0, sent));
}

// --- What a guest must not do.

TEST_F(DeviceTest, ForeignPackets) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  const auto send = [this](const std::function<void(Header&)>& change) {
    Header header = guest_->Make(kOpReadWrite, kGuestPort, kPort);
    change(header);
    EXPECT_TRUE(guest_->SendRaw(header, "data"));
    return NextOp();
  };
  EXPECT_EQ(send([](Header& h) { h.src_cid = 4; }), "0");
  EXPECT_EQ(send([](Header& h) { h.src_cid = kHostCid; }), "0");
  EXPECT_EQ(send([](Header& h) { h.dst_cid = 4; }), "3");
  EXPECT_EQ(send([](Header& h) { h.dst_cid = GuestForTest::kCid; }), "3");
  EXPECT_EQ(send([](Header& h) { h.type = 2; }), "3");
  EXPECT_EQ(send([](Header& h) { h.dst_port = 99; }), "3");
  EXPECT_EQ(send([](Header& h) {
              h.dst_port = 99;
              h.op = kOpReset;
            }),
            "0");
  // None of it touched the connection.
  guest_->Send(kOpReadWrite, kGuestPort, kPort, "fine");
  EXPECT_EQ(NextOp(), "0");
  EXPECT_EQ(ReadNow(host), "fine");
}

TEST_F(DeviceTest, MalformedPacketsEndTheirConnection) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const std::vector<std::function<void(Header&)>> changes = {
      [](Header& h) { h.len = 5; },         [](Header& h) { h.len = 0xffffffff; },
      [](Header& h) { h.op = 0; },          [](Header& h) { h.op = 200; },
      [](Header& h) { h.op = kOpRequest; }, [](Header& h) { h.op = kOpResponse; },
  };
  for (const auto& change : changes) {
    const UniqueFd host = GuestConnects(listener);
    Header header = guest_->Make(kOpReadWrite, kGuestPort, kPort);
    change(header);
    ASSERT_TRUE(guest_->SendRaw(header, "data"));
    EXPECT_EQ(NextOp(), "3");
    EXPECT_EQ(NextOp(), "0");
    EXPECT_EQ(ReadNow(host), "<EOF>");
  }
}

TEST_F(DeviceTest, CreditViolation) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  // The host reads nothing; its socket's buffer and ours fill.
  std::string op = "0";
  int sent = 0;
  for (; sent < 100 && (op == "0" || op == "6"); ++sent) {
    ASSERT_TRUE(guest_->Send(kOpReadWrite, kGuestPort, kPort, PatternAt(0, kMaxPayload)));
    op = NextOp();
  }
  EXPECT_EQ(op, "3");
  EXPECT_GT(sent, 4);
  EXPECT_LT(sent, 20);
  // The ports are free, and the host gets what was in its socket.
  EXPECT_TRUE(GuestConnects(listener).valid());
}

TEST_F(DeviceTest, ChainsThatHoldNoPacket) {
  Start();
  fakes::FakeQueue& tx = guest_->driver().Queue(kTxQueue);
  const std::vector<uint8_t> tiny(kHeaderSize - 1);
  tx.Chain().Readable(tiny).Send();
  Spin();
  EXPECT_EQ(guest_->received().size(), 0u);
  EXPECT_FALSE(guest_->driver().NeedsReset());
}

TEST_F(DeviceTest, ReceiveBuffersTooSmallAreReturned) {
  Start({}, kHeaderSize);
  ASSERT_TRUE(guest_->Send(kOpRequest, kGuestPort, kPort));
  Spin();
  EXPECT_GT(guest_->malformed(), 0);
  EXPECT_FALSE(guest_->driver().NeedsReset());
}

TEST_F(DeviceTest, MalformedQueueNeedsReset) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  fakes::FakeQueue& tx = guest_->driver().Queue(kTxQueue);
  tx.Chain().Raw(GuestAddress{~0ull - 10}, 100, false).Send();
  Spin();
  EXPECT_TRUE(guest_->driver().NeedsReset());
  EXPECT_EQ(ReadNow(host), "<EOF>");
  ASSERT_TRUE(guest_->Start());
  EXPECT_TRUE(GuestConnects(listener).valid());
}

TEST_F(DeviceTest, GarbageInTheQueues) {
  Start();
  std::mt19937_64 random(1);
  int needed_reset = 0;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(guest_->Start());
    for (size_t index = 0; index < kQueueCount; ++index) {
      fakes::FakeQueue& queue = guest_->driver().Queue(index);
      const uint64_t count = random() % 16;
      for (uint64_t n = 0; n < count; ++n) {
        const bool sane = random() % 4 != 0;
        queue.WriteDescriptor(
            random() % queue.size(),
            virtio::Descriptor{
                .address = sane ? random() % fakes::FakeDriver::kDefaultMemory : random(),
                .length = static_cast<uint32_t>(sane ? random() % 70'000 : random()),
                .flags = static_cast<uint16_t>(sane ? (index == kRxQueue ? 2 : 0) : random()),
                .next = static_cast<uint16_t>(random() % (sane ? queue.size() : 0x10000))});
        queue.MakeAvailable(random() % (sane ? queue.size() : 0x10000));
      }
      if (random() % 8 == 0) queue.SetAvailableIndex(random());
      queue.Kick();
    }
    // The queues cannot be read as a driver would, so only the loop runs.
    while (*loop_->RunOnce(absl::ZeroDuration())) {
    }
    needed_reset += guest_->driver().NeedsReset();
  }
  EXPECT_GT(needed_reset, 100);
  EXPECT_LT(needed_reset, 1000);
  // The host's end of all that is gone as well.
  ASSERT_TRUE(guest_->Start());
  const UniqueFd listener = Listen(kPort);
  EXPECT_TRUE(GuestConnects(listener).valid());
}

TEST_F(DeviceTest, RepliesThatNobodyTakesAreBounded) {
  Start({.max_pending_resets = 10});
  guest_->driver().Reset();
  ASSERT_TRUE(guest_->Start(/*post_rx=*/false));
  Spin();
  for (uint32_t i = 0; i < 40; ++i) ASSERT_TRUE(guest_->Send(kOpReadWrite, i, 99, "x"));
  Spin();
  EXPECT_EQ(guest_->tx_unused(), 30u);
  guest_->set_post_rx(true);
  Spin();
  EXPECT_EQ(guest_->tx_unused(), 0u);
  ASSERT_EQ(guest_->received().size(), 40u);
  for (uint32_t i = 0; i < 40; ++i) EXPECT_EQ(guest_->received()[i].header.dst_port, i);
}

TEST_F(DeviceTest, ConnectionLimit) {
  Start({.max_connections = 3});
  const UniqueFd listener = Listen(kPort);
  std::vector<UniqueFd> hosts;
  for (uint32_t i = 0; i < 3; ++i) hosts.push_back(GuestConnects(listener, i));
  ASSERT_TRUE(guest_->Send(kOpRequest, 3, kPort));
  EXPECT_EQ(NextOp(), "3");
  const UniqueFd refused = ConnectToDevice();
  Spin();
  EXPECT_EQ(ReadNow(refused), "<EOF>");
  guest_->Send(kOpReset, 0, kPort);
  Spin();
  EXPECT_TRUE(GuestConnects(listener, 3).valid());
}

TEST_F(DeviceTest, LateConnectionsGetSmallBuffers) {
  Start({.large_buffers = 1});
  const UniqueFd listener = Listen(kPort);
  std::vector<UniqueFd> hosts;
  for (const uint32_t expected : {Limits().large_buffer, Limits().small_buffer}) {
    ASSERT_TRUE(guest_->Send(kOpRequest, hosts.size(), kPort));
    EXPECT_EQ(Next().header.buf_alloc, expected);
    hosts.push_back(Accept(listener));
  }
}

// --- Amounts.

TEST_F(DeviceTest, ThreeHundredConnectionsTakeTurns) {
  constexpr uint32_t kCount = 300;
  Start();
  const int before = OpenDescriptors();
  {
    const UniqueFd listener = Listen(kPort);
    std::vector<UniqueFd> hosts;
    for (uint32_t i = 0; i < kCount; ++i) {
      while (!guest_->Send(kOpRequest, i, kPort)) Spin();
    }
    Spin();
    ASSERT_EQ(guest_->received().size(), kCount);
    guest_->received().clear();
    for (uint32_t i = 0; i < kCount; ++i) {
      hosts.push_back(Accept(listener));
      ASSERT_TRUE(hosts.back().valid());
    }
    // The guest takes nothing while every host has plenty: resets use up its buffers.
    guest_->set_post_rx(false);
    for (int i = 0; i < guest_->driver().Queue(kRxQueue).size(); ++i) {
      while (!guest_->Send(kOpReadWrite, 60'000, 99)) Spin();
    }
    Spin();
    guest_->received().clear();
    for (uint32_t i = 0; i < kCount; ++i) {
      ASSERT_EQ(WriteNow(hosts[i], PatternAt(i, 40'000)), 40'000);
    }
    Spin();
    ASSERT_TRUE(guest_->received().empty());
    guest_->set_post_rx(true);
    ASSERT_TRUE(SpinUntil([&] { return guest_->received().size() >= 2 * kCount; }));
    std::map<uint32_t, int> turns;
    for (uint32_t i = 0; i < 2 * kCount; ++i) {
      ++turns[guest_->received()[i].header.dst_port];
    }
    EXPECT_EQ(turns.size(), kCount);
    for (const auto& [port, count] : turns) EXPECT_EQ(count, 2) << port;

    // And to the host, all at once.
    for (uint32_t i = 0; i < kCount; ++i) {
      while (!guest_->Send(kOpReadWrite, i, kPort, absl::StrCat("connection ", i))) Spin();
    }
    Spin();
    std::set<std::string> seen;
    for (const UniqueFd& host : hosts) seen.insert(ReadNow(host));
    EXPECT_EQ(seen.size(), kCount);
    EXPECT_TRUE(seen.contains("connection 299"));
    // The hosts go; each connection is taken down.
    hosts.clear();
    guest_->received().clear();
    std::set<uint32_t> closed;
    ASSERT_TRUE(SpinUntil([&] {
      while (!guest_->received().empty()) {
        const Header header = guest_->received().front().header;
        guest_->received().pop_front();
        if (header.op == kOpShutdown && header.flags == kShutdownBoth) {
          while (!guest_->Send(kOpReset, header.dst_port, kPort)) Spin();
          closed.insert(header.dst_port);
        }
      }
      return closed.size() == kCount;
    }));
    Spin();
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(DeviceTest, HundredMegabytesEachWayWithSlowReaders) {
  constexpr uint64_t kTotal = 100'000'000;
  constexpr uint32_t kGuestBuffer = 128 * 1024;
  Start({}, 16 * 1024);
  const UniqueFd listener = Listen(kPort);
  ASSERT_TRUE(guest_->Send(kOpRequest, kGuestPort, kPort));
  const Packet response = Next();
  ASSERT_EQ(response.header.op, kOpResponse);
  const UniqueFd host = Accept(listener);

  uint32_t buf_alloc = response.header.buf_alloc;
  uint32_t fwd_cnt = 0;
  uint64_t guest_sent = 0, guest_took = 0, guest_arrived = 0, host_sent = 0, host_took = 0;
  uint64_t acknowledged = 0;
  std::vector<char> buffer(64 * 1024);
  uint64_t pass = 0;
  const absl::Time deadline = absl::Now() + absl::Seconds(120);
  while (host_took < kTotal || guest_took < kTotal) {
    ASSERT_LT(absl::Now(), deadline) << host_took << " " << guest_took;
    ++pass;
    // The guest sends what it has credit for.
    while (guest_sent < kTotal) {
      const uint64_t credit = buf_alloc - static_cast<uint32_t>(guest_sent - fwd_cnt);
      const uint64_t size = std::min({credit, uint64_t{kMaxPayload}, kTotal - guest_sent});
      if (size == 0) break;
      Header header = guest_->Make(kOpReadWrite, kGuestPort, kPort);
      header.len = size;
      header.buf_alloc = kGuestBuffer;
      header.fwd_cnt = guest_took;
      if (!guest_->SendRaw(header, PatternAt(guest_sent, size))) break;
      guest_sent += size;
    }
    // The host sends as much as its socket takes.
    if (host_sent < kTotal) {
      const ssize_t written =
          WriteNow(host, PatternAt(host_sent, std::min<uint64_t>(kMaxPayload, kTotal - host_sent)));
      if (written > 0) host_sent += written;
    }
    (void)loop_->RunOnce(absl::ZeroDuration());
    guest_->Poll();
    // The guest's application reads now and then.
    while (!guest_->received().empty()) {
      const Packet packet = std::move(guest_->received().front());
      guest_->received().pop_front();
      ASSERT_TRUE(packet.header.op == kOpReadWrite || packet.header.op == kOpCreditUpdate ||
                  packet.header.op == kOpCreditRequest)
          << packet.header.op;
      buf_alloc = packet.header.buf_alloc;
      fwd_cnt = packet.header.fwd_cnt;
      ASSERT_TRUE(packet.data == PatternAt(guest_arrived, packet.data.size()));
      guest_arrived += packet.data.size();
      ASSERT_LE(guest_arrived - acknowledged, kGuestBuffer);
    }
    if (pass % 3 == 0) guest_took += std::min<uint64_t>(guest_arrived - guest_took, 50'000);
    if (guest_took - acknowledged >= kGuestBuffer / 4 || guest_took == kTotal) {
      Header update = guest_->Make(kOpCreditUpdate, kGuestPort, kPort);
      update.buf_alloc = kGuestBuffer;
      update.fwd_cnt = guest_took;
      if (guest_->SendRaw(update, "")) acknowledged = guest_took;
    }
    // So does the host.
    if (pass % 5 == 0) {
      const ssize_t size = read(host.get(), buffer.data(), buffer.size());
      if (size > 0) {
        ASSERT_TRUE(absl::string_view(buffer.data(), size) == PatternAt(host_took, size));
        host_took += size;
      }
    }
  }
  EXPECT_EQ(guest_->malformed(), 0);
}

TEST_F(DeviceTest, OneInterruptForABatch) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  Header header = guest_->Make(kOpReadWrite, kGuestPort, kPort);
  header.len = 10;
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(guest_->SendRaw(header, "0123456789", /*kick=*/false));
  const uint64_t before = guest_->driver().interrupt().count();
  guest_->driver().Queue(kTxQueue).Kick();
  Spin();
  EXPECT_EQ(ReadNow(host).size(), 300u);
  EXPECT_LE(guest_->driver().interrupt().count() - before, 1u);
}

// --- Reset and the end of the machine.

TEST_F(DeviceTest, ResetEndsConnectionsAndDeliversWhatWasSent) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(guest_->Send(kOpReadWrite, kGuestPort, kPort, PatternAt(i * 64000, 64000)));
  }
  Spin();
  guest_->driver().Reset();
  std::string all;
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (all.size() < 256000 && absl::Now() < deadline) {
    while (*loop_->RunOnce(absl::ZeroDuration())) {
    }
    all += ReadNow(host, 256000 - all.size());
  }
  EXPECT_EQ(all, PatternAt(0, 256000));
  (void)loop_->RunOnce(absl::ZeroDuration());
  EXPECT_EQ(ReadNow(host), "<EOF>");
  ASSERT_TRUE(guest_->Start());
  EXPECT_TRUE(GuestConnects(listener).valid());
}

TEST_F(DeviceTest, ActivationThatIsTakenBackAtOnce) {
  Start();
  // The loop has not run in between.
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(guest_->Start());
  const UniqueFd listener = Listen(kPort);
  EXPECT_TRUE(GuestConnects(listener).valid());
}

TEST_F(DeviceTest, DrainDeliversWhatTheGuestLeft) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(guest_->Send(kOpReadWrite, kGuestPort, kPort, PatternAt(i * 64000, 64000)));
  }
  // The loop has not seen any of it, and nobody reads.
  const absl::StatusOr<EventFd> stop = EventFd::Create();
  ASSERT_TRUE(stop.ok());
  EXPECT_FALSE(device_->Drain(absl::Milliseconds(20), stop->fd()));
  std::string all;
  std::thread reader([&] {
    while (all.size() < 256000) {
      all += ReadNow(host, 256000 - all.size());
      absl::SleepFor(absl::Milliseconds(1));
    }
  });
  EXPECT_TRUE(device_->Drain(absl::Seconds(20), stop->fd()));
  reader.join();
  EXPECT_EQ(all, PatternAt(0, 256000));
}

TEST_F(DeviceTest, DrainEndsWhenItIsToldTo) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(guest_->Send(kOpReadWrite, kGuestPort, kPort, PatternAt(i * 64000, 64000)));
  }
  const absl::StatusOr<EventFd> stop = EventFd::Create();
  ASSERT_TRUE(stop.ok());
  stop->Signal();
  const absl::Time start = absl::Now();
  EXPECT_FALSE(device_->Drain(absl::Hours(1), stop->fd()));
  EXPECT_LT(absl::Now() - start, absl::Minutes(5));
}

TEST_F(DeviceTest, ResetFromAnotherThreadWhileTheLoopRuns) {
  Start();
  guest_->driver().Reset();
  Spin();
  std::thread looper([&] { EXPECT_TRUE(loop_->Run().ok()); });
  std::atomic<bool> stop{false};
  std::thread host_process([&] {
    while (!stop.load()) {
      UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      const sockaddr_un address = Address(socket_);
      if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
        WriteNow(fd, "CONNECT 52\n");
        absl::SleepFor(absl::Microseconds(200));
      }
    }
  });
  for (int i = 0; i < 300; ++i) {
    EXPECT_TRUE(guest_->Start());
    for (uint32_t port = 0; port < 10; ++port) guest_->Send(kOpRequest, port, 99);
    if (i % 3 == 0) absl::SleepFor(absl::Microseconds(500));
    guest_->driver().Reset();
  }
  stop.store(true);
  host_process.join();
  loop_->Stop();
  looper.join();
  // The loop's thread is gone; this one can still take the device away.
  guest_.reset();
}

TEST_F(DeviceTest, ResetWhenTheLoopHasEnded) {
  Start();
  const UniqueFd listener = Listen(kPort);
  const UniqueFd host = GuestConnects(listener);
  guest_->driver().Reset();
  guest_.reset();
  device_.reset();
  EXPECT_EQ(ReadNow(host), "<EOF>");
}

}  // namespace
}  // namespace hull::vsock
