#include "vmm/devices/rng/device.h"

#include <glog/logging.h>
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "vmm/base/random.h"
#include "vmm/base/status_macros.h"

namespace hull::rng {
std::shared_ptr<Device> Device::Create(EventLoop* loop) { return Create(loop, FillRandom); }

std::shared_ptr<Device> Device::Create(EventLoop* loop, Source source) {
  return std::shared_ptr<Device>(new Device(loop, std::move(source)));
}

// The transport resets what it activated.
Device::~Device() { CHECK(active_ == nullptr) << "the entropy device was not reset"; }

absl::Status Device::Activate(virtio::Activation activation) {
  // std::function wants what it holds to be copyable.
  auto shared = std::make_shared<virtio::Activation>(std::move(activation));
  loop_->Post([this, shared] { Start(std::move(*shared)); });
  return absl::OkStatus();
}

void Device::Reset() {
  loop_->RunAndWait([this] { Stop(); });
}

void Device::Start(virtio::Activation activation) {
  active_ = std::make_unique<Active>();
  active_->activation = std::move(activation);
  const std::optional<virtio::ActiveQueue>& queue = active_->activation.queues[0];
  // A driver that left the only queue unused gets nothing, as it asked.
  if (!queue.has_value()) return;
  absl::StatusOr<EventLoop::Id> watch =
      loop_->AddFd(queue->kick->fd(), EPOLLIN, [this](uint32_t) { Process(); });
  if (!watch.ok()) {
    if (throttle_.Allow()) LOG(ERROR) << "rng: cannot watch the queue: " << watch.status();
    active_->activation.needs_reset();
    return;
  }
  active_->watch = *watch;
}

void Device::Stop() {
  if (active_ == nullptr) return;
  StopWatching();
  if (active_->timer.has_value()) loop_->CancelTimer(*active_->timer);
  active_ = nullptr;
}

void Device::StopWatching() {
  if (active_->watch.has_value()) loop_->RemoveFd(*active_->watch);
  active_->watch.reset();
}

void Device::Process() {
  virtio::ActiveQueue& active_queue = *active_->activation.queues[0];
  active_queue.kick->Drain();
  // The pause's end comes back here.
  if (active_->timer.has_value()) return;
  const absl::Status status = FillChains(active_queue.queue);
  if (active_queue.queue.NeedsInterrupt()) active_->activation.interrupt->Raise();
  if (!status.ok()) {
    if (throttle_.Allow()) LOG(WARNING) << "rng: the driver broke its queue: " << status;
    StopWatching();
    active_->activation.needs_reset();
    return;
  }
  if (active_->budget > 0) return;
  active_->timer = loop_->AddTimer(kPause, [this] {
    active_->timer.reset();
    active_->budget = kBudget;
    Process();
  });
}

absl::Status Device::FillChains(virtio::Queue& queue) {
  std::array<uint8_t, 4096> bytes;
  while (active_->budget > 0) {
    HULL_ASSIGN_OR_RETURN(std::optional<virtio::DescriptorChain> chain, queue.Pop());
    if (!chain.has_value()) return absl::OkStatus();
    // 5.4.6.1: "The device MAY use any number of bytes of the buffer". What the driver put into a
    // readable part is ignored.
    const uint32_t size = std::min(chain->writable_size(), kMaxRequest);
    uint32_t done = 0;
    while (done < size) {
      const auto piece = std::span(bytes).first(std::min<size_t>(size - done, bytes.size()));
      const absl::Status filled = source_(piece);
      if (!filled.ok()) {
        if (throttle_.Allow()) LOG(ERROR) << "rng: no random bytes: " << filled;
        break;
      }
      HULL_RETURN_IF_ERROR(chain->Write(done, piece));
      done += static_cast<uint32_t>(piece.size());
    }
    HULL_RETURN_IF_ERROR(queue.Complete(*std::move(chain), done));
    active_->budget -= std::min(active_->budget, std::max(done, kMinCost));
  }
  return absl::OkStatus();
}

}  // namespace hull::rng
