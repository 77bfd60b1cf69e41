#include "vmm/devices/block/device.h"

#include <glog/logging.h>
#include <sched.h>
#include <sys/epoll.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/devices/block/wire.h"

namespace hull::block {
namespace {

uint64_t Features(const Backend& backend) {
  const uint64_t features = kFeatureSegMax | kFeatureBlockSize | kFeatureFlush;
  return features |
         (backend.read_only() ? kFeatureReadOnly : kFeatureDiscard | kFeatureWriteZeroes);
}

// What the worker waits for, in epoll's data.
enum Wake : uint64_t { kControl, kKick };

absl::Status Watch(int epoll, int fd, uint32_t events, Wake wake) {
  epoll_event event = {.events = events, .data = {.u64 = wake}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) return PosixError("watch an event");
  return absl::OkStatus();
}

}  // namespace

// A queue of the driver's, watched by epoll as long as this exists.
class Device::Active {
 public:
  Active(int epoll, virtio::ActiveQueue queue, virtio::Activation& activation, absl::string_view id,
         Backend& backend, RequestLog& log)
      : epoll_(epoll),
        kick_(std::move(queue.kick)),
        needs_reset_(std::move(activation.needs_reset)),
        requests_(std::move(queue.queue), activation.features, std::move(activation.interrupt), id,
                  backend, log) {}
  // The transport keeps the event, so it stays open.
  ~Active() { epoll_ctl(epoll_, EPOLL_CTL_DEL, kick_->fd(), nullptr); }
  Active(const Active&) = delete;
  Active& operator=(const Active&) = delete;

  // Edge-triggered: each notification wakes the worker once, without a read(2) to take it.
  absl::Status WatchKick() { return Watch(epoll_, kick_->fd(), EPOLLIN | EPOLLET, kKick); }
  absl::Status Process(const std::atomic<bool>& stop) { return requests_.Process(stop); }
  uint32_t executed() const { return requests_.executed(); }
  void NeedsReset() const { needs_reset_(); }

 private:
  const int epoll_;
  const std::shared_ptr<const EventFd> kick_;
  const std::function<void()> needs_reset_;
  RequestQueue requests_;
};

absl::StatusOr<std::shared_ptr<Device>> Device::Create(std::string id,
                                                       std::unique_ptr<Backend> backend,
                                                       std::function<void()> thread_start) {
  if (id.empty() || id.size() > kIdSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("disk id \"", id, "\" is empty or longer than ", kIdSize, " bytes"));
  }
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return PosixError("create an epoll instance");
  HULL_ASSIGN_OR_RETURN(EventFd control, EventFd::Create());
  HULL_RETURN_IF_ERROR(Watch(epoll.get(), control.fd(), EPOLLIN, kControl));
  const std::string thread_name = absl::StrCat("block:", id);
  std::shared_ptr<Device> device(
      new Device(std::move(id), std::move(backend), std::move(epoll), std::move(control)));
  HULL_ASSIGN_OR_RETURN(
      device->worker_,
      WorkerThread::Start(thread_name,
                          [raw = device.get(), start = std::move(thread_start)](const EventFd&) {
                            if (start) start();
                            raw->Work();
                          }));
  return device;
}

Device::Device(std::string id, std::unique_ptr<Backend> backend, UniqueFd epoll, EventFd control)
    : id_(std::move(id)),
      name_(absl::StrCat("block:", id_)),
      backend_(std::move(backend)),
      features_(Features(*backend_)),
      epoll_(std::move(epoll)),
      control_(std::move(control)) {}

Device::~Device() {
  // The worker, which is the first member to go, hears this rather than an event of its own: that
  // one could be watched only from inside the thread, where failing to would be the end.
  stopping_.store(true);
  control_.Signal();
}

void Device::ReadConfig(uint32_t offset, std::span<uint8_t> data) const {
  ConfigSpace config;
  config.capacity = backend_->size() / kSectorSize;
  // A request without indirect descriptors needs one each for the header and the status.
  config.seg_max = kQueueSizes[0] - 2;
  config.block_size = backend_->block_size();
  config.num_queues = 1;
  if (!backend_->read_only()) {
    config.max_discard_sectors = kMaxDiscardSectors;
    config.max_discard_segments = kMaxDiscardSegments;
    config.discard_sector_alignment = backend_->block_size() / kSectorSize;
    config.max_write_zeroes_sectors = kMaxWriteZeroesSectors;
    config.max_write_zeroes_segments = kMaxWriteZeroesSegments;
    config.write_zeroes_may_unmap = 1;
  }
  virtio::CopyConfig(std::span(reinterpret_cast<const uint8_t*>(&config), sizeof(config)), offset,
                     data);
}

absl::Status Device::Activate(virtio::Activation activation) {
  absl::MutexLock lock(&mutex_);
  pending_ = std::move(activation);
  control_.Signal();
  return absl::OkStatus();
}

void Device::Reset() {
  absl::MutexLock lock(&mutex_);
  pending_.reset();
  if (!worker_has_queue_) return;
  release_.store(true);
  control_.Signal();
  const auto released = [this]()
                            ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !worker_has_queue_; };
  // At most for the request under way.
  mutex_.Await(absl::Condition(&released));
}

void Device::Work() {
  while (true) {
    epoll_event events[2];
    const int count = epoll_wait(epoll_.get(), events, 2, -1);
    PCHECK(count >= 0 || errno == EINTR) << name_ << ": epoll_wait";
    bool process = false;
    for (int i = 0; i < count; ++i) {
      process |= events[i].data.u64 == kKick || HandleControl();
    }
    if (stopping_.load()) return;
    if (process) ProcessQueue();
  }
}

bool Device::HandleControl() {
  control_.Drain();
  absl::MutexLock lock(&mutex_);
  if (release_.exchange(false)) {
    active_ = nullptr;
    worker_has_queue_ = false;
  }
  if (!pending_.has_value()) return false;
  virtio::Activation activation = *std::exchange(pending_, std::nullopt);
  std::optional<virtio::ActiveQueue>& queue = activation.queues[0];
  // A driver that left the only queue unused has a disk that does nothing.
  if (!queue.has_value()) return false;
  worker_has_queue_ = true;
  active_ = std::make_unique<Active>(epoll_.get(), *std::move(queue), activation, id_, *backend_,
                                     request_log_);
  GiveUpUnlessOk(active_->WatchKick());
  // What was made available before is found without a notification.
  return true;
}

void Device::ProcessQueue() {
  // None where a notification was fetched together with the queue's release.
  if (active_ == nullptr) return;
  GiveUpUnlessOk(active_->Process(release_));
  if (active_ != nullptr) SetPatient(patience_.Next(active_->executed()));
}

void Device::SetPatient(bool patient) {
  if (patient == std::exchange(patient_, patient)) return;
  // sched(7): a thread of SCHED_BATCH takes the CPU from nobody when it wakes up. It is advice:
  // where the call fails, the worker is scheduled as before.
  const sched_param none = {};
  sched_setscheduler(0, patient ? SCHED_BATCH : SCHED_OTHER, &none);
}

void Device::GiveUpUnlessOk(const absl::Status& status) {
  if (status.ok()) return;
  if (throttle_.Allow()) LOG(WARNING) << name_ << ": needs a reset: " << status;
  active_->NeedsReset();
  active_ = nullptr;
}

}  // namespace hull::block
