// Random packets of a guest and random conduct of host processes, against the whole host side:
// packet parsing, the state machine and the sockets. Only the event loop is replaced, by one whose
// timers fire when the input says so.
//
// An input is a sequence of steps: a byte that chooses one, and the bytes that it takes.

#include <glog/logging.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vmm/devices/vsock/muxer.h"
#include "vmm/devices/vsock/packet.h"

namespace hull::vsock {
namespace {

constexpr uint32_t kGuestCid = 3;
// Small, so that each limit is reached.
const Limits kLimits = {.max_connections = 8,
                        .large_buffer = 4096,
                        .small_buffer = 512,
                        .large_buffers = 2,
                        .max_pending_resets = 4};

// A broken promise of the code under test.
void Check(bool condition) {
  if (!condition) std::abort();
}

class Input {
 public:
  explicit Input(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  uint8_t Byte() {
    if (bytes_.empty()) return 0;
    const uint8_t byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  uint32_t Word() {
    uint32_t word = 0;
    for (int i = 0; i < 4; ++i) word = word << 8 | Byte();
    return word;
  }

 private:
  std::span<const uint8_t> bytes_;
};

class FuzzLoop : public EventLoop {
 public:
  ~FuzzLoop() override { Check(watches_.empty() && timers_.empty()); }

  absl::StatusOr<Id> AddFd(int fd, uint32_t events, FdCallback callback) override {
    watches_[++last_] = Watch{fd, events, std::move(callback)};
    return last_;
  }
  absl::Status ModifyFd(Id id, uint32_t events) override {
    watches_.at(id).events = events;
    return absl::OkStatus();
  }
  void RemoveFd(Id id) override { Check(watches_.erase(id) == 1); }
  Id AddTimer(absl::Duration, Callback callback) override {
    timers_[++last_] = std::move(callback);
    return last_;
  }
  void CancelTimer(Id id) override { Check(timers_.erase(id) == 1); }
  void Post(Callback callback) override { callback(); }
  void RunAndWait(Callback callback) override { callback(); }
  absl::Status Run() override { return absl::OkStatus(); }
  void Stop() override {}

  // Every descriptor that is ready, once.
  absl::StatusOr<bool> RunOnce(absl::Duration) override {
    std::vector<Id> ids;
    std::vector<pollfd> pollers;
    for (const auto& [id, watch] : watches_) {
      if (watch.events == 0) continue;
      ids.push_back(id);
      pollers.push_back({.fd = watch.fd, .events = static_cast<short>(watch.events), .revents = 0});
    }
    poll(pollers.data(), pollers.size(), 0);
    bool ran = false;
    for (size_t i = 0; i < pollers.size(); ++i) {
      const auto watch = watches_.find(ids[i]);
      if (pollers[i].revents == 0 || watch == watches_.end() || watch->second.events == 0) continue;
      const FdCallback callback = watch->second.callback;
      callback(static_cast<uint16_t>(pollers[i].revents));
      ran = true;
    }
    return ran;
  }

  void FireTimers() {
    std::map<Id, Callback> due;
    for (const auto& [id, callback] : timers_) due.emplace(id, callback);
    for (const auto& [id, callback] : due) {
      if (timers_.erase(id) == 1) callback();
    }
  }

 private:
  struct Watch {
    int fd;
    uint32_t events;
    FdCallback callback;
  };
  std::map<Id, Watch> watches_;
  std::map<Id, Callback> timers_;
  Id last_ = 0;
};

// What the host's processes hold: shared with the connector, which the muxer owns.
struct Hosts {
  std::vector<UniqueFd> sockets;
  std::map<uint64_t, HostConnector::Done> waiting;

  UniqueFd NewPair() {
    int pair[2];
    Check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    sockets.emplace_back(pair[0]);
    return UniqueFd(pair[1]);
  }
};

class FuzzConnector : public HostConnector {
 public:
  explicit FuzzConnector(Hosts* hosts) : hosts_(hosts) {}
  ~FuzzConnector() override { Check(hosts_->waiting.empty()); }
  RequestId Connect(uint32_t port, Done done) override {
    switch (port % 3) {
      case 0:
        done(hosts_->NewPair());
        break;
      case 1:
        done(absl::UnavailableError("refused"));
        break;
      default:
        hosts_->waiting[++last_] = std::move(done);
        break;
    }
    return last_;
  }
  void Cancel(RequestId id) override { Check(hosts_->waiting.erase(id) == 1); }

 private:
  Hosts* const hosts_;
  RequestId last_ = 1;
};

class Bytes : public GuestPayload {
 public:
  explicit Bytes(size_t size) : bytes_(size, 0x5a) {}
  uint32_t size() const override { return static_cast<uint32_t>(bytes_.size()); }
  absl::StatusOr<std::vector<iovec>> Slices(uint32_t offset, uint32_t size) const override {
    Check(offset <= bytes_.size() && size <= bytes_.size() - offset);
    return std::vector<iovec>{{bytes_.data() + offset, size}};
  }
  absl::Status Copy(uint32_t offset, std::span<uint8_t> out) const override {
    Check(offset <= bytes_.size() && out.size() <= bytes_.size() - offset);
    std::memcpy(out.data(), bytes_.data() + offset, out.size());
    return absl::OkStatus();
  }

 private:
  mutable std::vector<uint8_t> bytes_;
};

class Room : public GuestRoom {
 public:
  explicit Room(size_t size) : bytes_(size) {}
  uint32_t size() const override { return static_cast<uint32_t>(bytes_.size()); }
  absl::StatusOr<std::vector<iovec>> Slices(uint32_t size) const override {
    Check(size > 0 && size <= bytes_.size());
    return std::vector<iovec>{{bytes_.data(), size}};
  }

 private:
  mutable std::vector<uint8_t> bytes_;
};

class Fuzzer : public BackendObserver {
 public:
  Fuzzer() {
    UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    address_.sun_family = AF_UNIX;
    // An address of the kernel's choice, that no file stands for.
    Check(bind(listener.get(), generic(), sizeof(sa_family_t)) == 0);
    address_size_ = sizeof(address_);
    Check(getsockname(listener.get(), generic(), &address_size_) == 0);
    Check(listen(listener.get(), 16) == 0);
    muxer_ =
        std::make_unique<Muxer>(Muxer::Parts{.guest_cid = kGuestCid,
                                             .listener = std::move(listener),
                                             .connector = std::make_unique<FuzzConnector>(&hosts_),
                                             .limits = kLimits},
                                &loop_, this);
    muxer_->SetGuestPresent(true);
  }

  void OnPacketPending() override { Check(muxer_->HasPacket()); }

  void Step(Input& input) {
    switch (input.Byte() % 14) {
      case 0:
        return RawPacket(input);
      case 1:
      case 2:
      case 3:
        return GuestPacket(input);
      case 4:
        return HostConnects(input);
      case 5:
        if (UniqueFd* host = ChooseHost(input)) {
          std::string data((input.Byte() + 1) * 37, 'h');
          (void)send(host->get(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        return;
      case 6:
        if (UniqueFd* host = ChooseHost(input)) {
          std::vector<char> data((input.Byte() + 1) * 37);
          (void)recv(host->get(), data.data(), data.size(), MSG_DONTWAIT);
        }
        return;
      case 7:
        if (UniqueFd* host = ChooseHost(input)) shutdown(host->get(), input.Byte() % 3);
        return;
      case 8:
        if (UniqueFd* host = ChooseHost(input)) host->Reset();
        return;
      case 9:
        return loop_.FireTimers();
      case 10:
        return TakePackets(input);
      case 11:
        // The driver resets the device and comes back.
        muxer_->SetGuestPresent(false);
        muxer_->SetGuestPresent(true);
        return;
      case 12:
        return AnswerConnect(input);
      default:
        (void)loop_.RunOnce(absl::ZeroDuration());
        return;
    }
  }

  void CheckBounds() const {
    Check(muxer_->connection_count() <= kLimits.max_connections);
    Check(muxer_->buffered_bytes() <=
          kLimits.large_buffers * kLimits.large_buffer +
              (kLimits.max_connections - kLimits.large_buffers) * kLimits.small_buffer);
  }

 private:
  sockaddr* generic() { return reinterpret_cast<sockaddr*>(&address_); }

  void Handle(const Header& header, const GuestPayload& payload) {
    // As the device: not before there is room for a reply.
    while (!muxer_->CanHandlePacket()) Take(100);
    muxer_->HandlePacket(header, payload);
  }

  void RawPacket(Input& input) {
    HeaderBytes bytes;
    for (uint8_t& byte : bytes) byte = input.Byte();
    Handle(DecodeHeader(bytes), Bytes(input.Byte()));
  }

  void GuestPacket(Input& input) {
    static constexpr uint32_t kWords[] = {0, 1, 511, 512, 4096, 65536, 0x7fffffff, 0xffffffff};
    Header header = {.src_cid = kGuestCid, .dst_cid = kHostCid, .type = kTypeStream};
    const uint8_t what = input.Byte();
    header.op = what % 9;
    const uint8_t ports = input.Byte();
    // Of a connection that the muxer spoke of, or made up.
    if (ports >= 128 && !known_.empty()) {
      const auto [host_port, guest_port] = known_[ports % known_.size()];
      header.dst_port = host_port;
      header.src_port = guest_port;
    } else {
      header.dst_port = ports % 8;
      header.src_port = ports / 8 % 4;
    }
    header.flags = input.Byte() % 5;
    const uint8_t credit = input.Byte();
    header.buf_alloc = kWords[credit % 8];
    header.fwd_cnt = kWords[credit / 8 % 8];
    header.len = header.op == kOpReadWrite ? input.Byte() * 16 : 0;
    const bool short_of_data = what >= 250;
    Handle(header, Bytes(short_of_data ? header.len / 2 : header.len));
  }

  void HostConnects(Input& input) {
    UniqueFd host(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (connect(host.get(), generic(), address_size_) != 0) return;
    const uint8_t what = input.Byte();
    std::string line = "CONNECT " + std::to_string(what % 16) + "\n";
    if (what >= 240) {
      for (char& c : line) c = static_cast<char>(input.Byte());
    } else if (what >= 200) {
      line.pop_back();
    }
    (void)send(host.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    hosts_.sockets.push_back(std::move(host));
  }

  UniqueFd* ChooseHost(Input& input) {
    std::erase_if(hosts_.sockets, [](const UniqueFd& fd) { return !fd.valid(); });
    if (hosts_.sockets.empty()) return nullptr;
    return &hosts_.sockets[input.Byte() % hosts_.sockets.size()];
  }

  void AnswerConnect(Input& input) {
    if (hosts_.waiting.empty()) return;
    const auto first = hosts_.waiting.begin();
    const HostConnector::Done done = std::move(first->second);
    hosts_.waiting.erase(first);
    if (input.Byte() % 2 == 0) {
      done(hosts_.NewPair());
    } else {
      done(absl::UnavailableError("refused"));
    }
  }

  void TakePackets(Input& input) {
    const uint32_t room = (input.Byte() + 1) * 17;
    for (int count = input.Byte() % 32; count > 0 && muxer_->HasPacket(); --count) Take(room);
  }

  void Take(uint32_t room) {
    const std::optional<Header> header = muxer_->TakePacket(Room(room));
    if (!header.has_value()) return Check(!muxer_->HasPacket());
    Check(header->dst_cid == kGuestCid);
    Check(header->op >= kOpRequest && header->op <= kOpCreditRequest);
    Check(header->len <= room && (header->len > 0) == (header->op == kOpReadWrite));
    if (known_.size() < 16) known_.emplace_back(header->src_port, header->dst_port);
  }

  FuzzLoop loop_;
  Hosts hosts_;
  sockaddr_un address_ = {};
  socklen_t address_size_ = 0;
  std::vector<std::pair<uint32_t, uint32_t>> known_;
  std::unique_ptr<Muxer> muxer_;
};

}  // namespace
}  // namespace hull::vsock

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Each input would be allowed its own share of warnings.
  FLAGS_minloglevel = google::GLOG_FATAL;
  hull::vsock::Input input(std::span(data, size));
  hull::vsock::Fuzzer fuzzer;
  // Longer inputs find nothing that shorter ones do not.
  for (int step = 0; step < 400 && !input.empty(); ++step) {
    fuzzer.Step(input);
    fuzzer.CheckBounds();
  }
  return 0;
}
