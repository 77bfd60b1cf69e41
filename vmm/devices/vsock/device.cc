#include "vmm/devices/vsock/device.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/devices/vsock/muxer.h"
#include "vmm/devices/vsock/packet.h"
#include "vmm/devices/vsock/unix_connector.h"
#include "vmm/devices/vsock/wire.h"
#include "vmm/virtio/descriptor_chain.h"
#include "vmm/virtio/queue.h"

namespace hull::vsock {
namespace {

// Linux fills the receive queue with buffers of 4 KiB, so its size is guest memory: 64 of them are
// about the credit that Linux gives a connection (256 KiB). Of the event queue it fills 8.
constexpr std::array<uint16_t, kQueueCount> kQueueSizes = {64, 64, 8};

// Packets handled in one go, in each direction, before the loop's other descriptors get a turn.
constexpr int kBatch = 256;

// The payload of a packet that the guest sent.
class ChainPayload : public GuestPayload {
 public:
  // `chain` holds at least a header.
  explicit ChainPayload(const virtio::DescriptorChain& chain) : chain_(chain) {}

  uint32_t size() const override { return chain_.readable_size() - kHeaderSize; }
  absl::StatusOr<std::vector<iovec>> Slices(uint32_t offset, uint32_t size) const override {
    if (offset > this->size()) return absl::OutOfRangeError("beyond the packet");
    return chain_.ReadableSlices(kHeaderSize + offset, size);
  }
  absl::Status Copy(uint32_t offset, std::span<uint8_t> out) const override {
    if (offset > size()) return absl::OutOfRangeError("beyond the packet");
    return chain_.Read(kHeaderSize + offset, out);
  }

 private:
  const virtio::DescriptorChain& chain_;
};

// The room for a packet's payload in a receive buffer of the guest.
class ChainRoom : public GuestRoom {
 public:
  // `chain` has room for more than a header.
  explicit ChainRoom(const virtio::DescriptorChain& chain) : chain_(chain) {}

  uint32_t size() const override { return chain_.writable_size() - kHeaderSize; }
  absl::StatusOr<std::vector<iovec>> Slices(uint32_t size) const override {
    return chain_.WritableSlices(kHeaderSize, size);
  }

 private:
  const virtio::DescriptorChain& chain_;
};

}  // namespace

// What one Activate brought, until the Reset that ends it.
struct Device::Session {
  // Held by the loop while it works on the queues, and by Reset to take them away.
  absl::Mutex mutex;
  // False once Reset (or a malformed queue) ended the session: the queues are not touched again.
  bool open ABSL_GUARDED_BY(mutex) = true;
  std::optional<virtio::Queue> rx ABSL_GUARDED_BY(mutex);
  std::optional<virtio::Queue> tx ABSL_GUARDED_BY(mutex);

  // Constant.
  std::vector<std::shared_ptr<const EventFd>> kicks;
  std::shared_ptr<Interrupt> interrupt;
  std::function<void()> needs_reset;

  // Loop's thread only.
  std::vector<EventLoop::Id> watches;

  // Moves packets both ways until nothing can move or the batch is full (`more`).
  absl::Status Pump(Backend& backend, LogThrottle& log, bool& more)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // False when the receive queue must move first, because too many replies wait for it.
  absl::StatusOr<bool> PumpTx(Backend& backend, LogThrottle& log, int& budget)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  absl::Status PumpRx(Backend& backend, LogThrottle& log, int& budget)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
};

absl::StatusOr<bool> Device::Session::PumpTx(Backend& backend, LogThrottle& log, int& budget) {
  tx->DisableNotification();
  while (budget > 0 && backend.CanHandlePacket()) {
    HULL_ASSIGN_OR_RETURN(std::optional<virtio::DescriptorChain> chain, tx->Pop());
    if (!chain.has_value()) {
      if (!tx->EnableNotification()) return true;
      tx->DisableNotification();
      continue;
    }
    --budget;
    HeaderBytes bytes;
    if (chain->Read(0, bytes).ok()) {
      backend.HandlePacket(DecodeHeader(bytes), ChainPayload(*chain));
    } else if (log.Allow()) {
      LOG(WARNING) << "vsock: a packet of " << chain->readable_size() << " bytes is dropped";
    }
    HULL_RETURN_IF_ERROR(tx->Complete(*std::move(chain), 0));
  }
  // Notifications stay off: there is a reason to come back without one.
  return budget == 0;
}

absl::Status Device::Session::PumpRx(Backend& backend, LogThrottle& log, int& budget) {
  // Buffers that the driver adds matter only while there is something to put into them.
  rx->DisableNotification();
  while (budget > 0 && backend.HasPacket()) {
    HULL_ASSIGN_OR_RETURN(std::optional<virtio::DescriptorChain> chain, rx->Pop());
    if (!chain.has_value()) {
      if (!rx->EnableNotification()) return absl::OkStatus();
      rx->DisableNotification();
      continue;
    }
    --budget;
    if (chain->writable_size() <= kHeaderSize) {
      if (log.Allow()) {
        LOG(WARNING) << "vsock: a receive buffer of " << chain->writable_size()
                     << " bytes is returned unused";
      }
      HULL_RETURN_IF_ERROR(rx->Complete(*std::move(chain), 0));
      continue;
    }
    const std::optional<Header> header = backend.TakePacket(ChainRoom(*chain));
    if (!header.has_value()) {
      rx->UndoPop(*std::move(chain));
      continue;
    }
    HULL_RETURN_IF_ERROR(chain->Write(0, EncodeHeader(*header)));
    HULL_RETURN_IF_ERROR(rx->Complete(*std::move(chain), kHeaderSize + header->len));
  }
  return absl::OkStatus();
}

absl::Status Device::Session::Pump(Backend& backend, LogThrottle& log, bool& more) {
  int tx_budget = kBatch;
  int rx_budget = kBatch;
  bool tx_done = false;
  while (!tx_done) {
    HULL_ASSIGN_OR_RETURN(tx_done, PumpTx(backend, log, tx_budget));
    HULL_RETURN_IF_ERROR(PumpRx(backend, log, rx_budget));
    // Still no room for replies: the next kick of the receive queue goes on with both.
    if (!backend.CanHandlePacket()) break;
  }
  more = tx_budget == 0 || rx_budget == 0;
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Device>> Device::Create(Config config, EventLoop* loop) {
  if (config.guest_cid < kMinGuestCid || config.guest_cid > kMaxGuestCid) {
    return absl::InvalidArgumentError(absl::StrCat(
        "guest CID ", config.guest_cid, " is not within ", kMinGuestCid, " and ", kMaxGuestCid));
  }
  const bool needs_path = config.connector == nullptr;
  if (needs_path || !config.host_socket.empty()) {
    if (config.host_socket.empty() || config.host_socket.size() > UnixConnector::kMaxPrefix) {
      return absl::InvalidArgumentError(absl::StrCat("vsock socket path \"", config.host_socket,
                                                     "\" must have 1 to ",
                                                     UnixConnector::kMaxPrefix, " bytes"));
    }
  }
  std::string bound_path;
  if (!config.listener.valid() && !config.host_socket.empty()) {
    HULL_ASSIGN_OR_RETURN(config.listener, ListenOnUnixSocket(config.host_socket));
    bound_path = config.host_socket;
  } else if (config.listener.valid() && fcntl(config.listener.get(), F_SETFL, O_NONBLOCK) != 0) {
    // The loop must never wait in accept(2); a socket has no other status flag to lose.
    return PosixError("make the vsock listener non-blocking");
  }
  if (config.connector == nullptr) {
    config.connector = std::make_unique<UnixConnector>(config.host_socket, loop);
  }
  // Not make_shared: the constructor is private.
  std::shared_ptr<Device> device(new Device(config.guest_cid, loop));
  device->bound_path_ = std::move(bound_path);
  BackendObserver* const observer = device.get();
  device->muxer_ = std::make_unique<Muxer>(Muxer::Parts{.guest_cid = config.guest_cid,
                                                        .listener = std::move(config.listener),
                                                        .connector = std::move(config.connector),
                                                        .limits = config.limits},
                                           loop, observer);
  return device;
}

Device::Device(uint32_t guest_cid, EventLoop* loop)
    : guest_cid_(guest_cid), loop_(loop), self_(std::make_shared<Device*>(this)) {}

Device::~Device() {
  if (latest_ != nullptr) EndSession(*latest_);
  if (running_ != nullptr) Stop(running_);
  // The name goes before the socket closes, so that no host process can find it in between and be
  // refused. It is gone already if the state directory was removed, or out of reach in a jail,
  // whose directory goes as a whole.
  if (!bound_path_.empty()) unlink(bound_path_.c_str());
}

uint32_t Device::type() const { return kDeviceType; }
absl::string_view Device::name() const { return "vsock"; }
// Streams only, which is what a device without feature bits has (5.10.3).
uint64_t Device::features() const { return 0; }
std::span<const uint16_t> Device::queue_sizes() const { return kQueueSizes; }

void Device::ReadConfig(uint32_t offset, std::span<uint8_t> data) const {
  const ConfigSpace config = {.guest_cid = guest_cid_};
  std::fill(data.begin(), data.end(), 0);
  if (offset >= sizeof(config)) return;
  const size_t size = std::min(data.size(), sizeof(config) - offset);
  // SAFETY: within `config`, a structure of plain integers.
  std::memcpy(data.data(), reinterpret_cast<const uint8_t*>(&config) + offset, size);
}

absl::Status Device::Activate(virtio::Activation activation) {
  if (activation.queues.size() != kQueueCount || !activation.queues[kRxQueue].has_value() ||
      !activation.queues[kTxQueue].has_value()) {
    return absl::InvalidArgumentError("the socket device needs its receive and transmit queues");
  }
  auto session = std::make_shared<Session>();
  {
    absl::MutexLock lock(&session->mutex);
    session->rx = std::move(activation.queues[kRxQueue]->queue);
    session->tx = std::move(activation.queues[kTxQueue]->queue);
  }
  // The event queue is left alone: its only event tells the guest that its address changed, which
  // happens when a snapshot is restored.
  session->kicks.push_back(std::move(activation.queues[kRxQueue]->kick));
  session->kicks.push_back(std::move(activation.queues[kTxQueue]->kick));
  session->interrupt = std::move(activation.interrupt);
  session->needs_reset = std::move(activation.needs_reset);
  latest_ = session;
  loop_->Post([weak = std::weak_ptr<Device*>(self_), session = std::move(session)] {
    if (const auto self = weak.lock()) (*self)->Start(session);
  });
  return absl::OkStatus();
}

void Device::Reset() {
  if (latest_ == nullptr) return;
  // The wait is for one batch at most, in which the loop neither blocks nor calls the transport.
  EndSession(*latest_);
  loop_->Post([weak = std::weak_ptr<Device*>(self_), session = std::move(latest_)] {
    if (const auto self = weak.lock()) (*self)->Stop(session);
  });
  latest_.reset();
}

void Device::EndSession(Session& session) {
  absl::MutexLock lock(&session.mutex);
  session.open = false;
}

void Device::Start(const std::shared_ptr<Session>& session) {
  {
    absl::MutexLock lock(&session->mutex);
    if (!session->open) return;
    for (const std::shared_ptr<const EventFd>& kick : session->kicks) {
      absl::StatusOr<EventLoop::Id> watch =
          loop_->AddFd(kick->fd(), EPOLLIN, [this, kick](uint32_t) {
            kick->Drain();
            Process();
          });
      if (watch.ok()) {
        session->watches.push_back(*watch);
      } else {
        Fail(*session, watch.status());
        return Stop(session);
      }
    }
  }
  running_ = session;
  muxer_->SetGuestPresent(true);
  Process();
}

void Device::Stop(const std::shared_ptr<Session>& session) {
  for (const EventLoop::Id watch : session->watches) loop_->RemoveFd(watch);
  session->watches.clear();
  if (running_ != session) return;
  running_.reset();
  muxer_->SetGuestPresent(false);
}

void Device::Fail(Session& session, const absl::Status& status) {
  session.open = false;
  if (malformed_log_.Allow()) LOG(WARNING) << "vsock: needs a reset: " << status;
  // Under the lock, so that a Reset that is waiting for it cannot be undone by this.
  session.needs_reset();
}

void Device::OnPacketPending() { Process(); }

void Device::Process() {
  if (!PumpOnce() || resume_posted_) return;
  resume_posted_ = true;
  loop_->Post([weak = std::weak_ptr<Device*>(self_)] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    (*self)->resume_posted_ = false;
    (*self)->Process();
  });
}

bool Device::PumpOnce() {
  // A copy, as Stop lets go of it.
  const std::shared_ptr<Session> session = running_;
  if (session == nullptr) return false;
  bool more = false;
  absl::Status status;
  {
    absl::MutexLock lock(&session->mutex);
    if (!session->open) return false;
    status = session->Pump(*muxer_, malformed_log_, more);
    // Both are asked, as each call takes note of what was completed.
    const bool rx_interrupt = session->rx->NeedsInterrupt();
    const bool tx_interrupt = session->tx->NeedsInterrupt();
    if (rx_interrupt || tx_interrupt) session->interrupt->Raise();
    if (!status.ok()) Fail(*session, status);
  }
  if (!status.ok()) {
    Stop(session);
    return false;
  }
  return more;
}

bool Device::Drain(absl::Duration limit, int stop) {
  // Ends, as nothing adds to the transmit queue any more, and the receive queue runs out of
  // buffers.
  while (PumpOnce()) {
  }
  return muxer_->Drain(limit, stop);
}

}  // namespace hull::vsock
