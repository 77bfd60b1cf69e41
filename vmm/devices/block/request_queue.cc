#include "vmm/devices/block/request_queue.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "vmm/base/status_macros.h"

namespace hull::block {
namespace {

// An interrupt costs the guest and the host more than a request that hits the page cache, so that a
// burst of requests shares one; but a driver does not wait for more than this many.
constexpr uint32_t kInterruptEvery = 16;
constexpr uint64_t kInterruptEveryBytes = 256 << 10;

template <typename... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <typename... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

}  // namespace

RequestQueue::RequestQueue(virtio::Queue queue, uint64_t features,
                           std::shared_ptr<Interrupt> interrupt, absl::string_view id,
                           Backend& backend, RequestLog& log)
    : queue_(std::move(queue)),
      interrupt_(std::move(interrupt)),
      id_(id),
      backend_(backend),
      disk_{backend.size(), backend.read_only()},
      write_through_((features & kFeatureFlush) == 0),
      log_(log) {}

absl::Status RequestQueue::Process(const std::atomic<bool>& stop) {
  executed_ = 0;
  do {
    queue_.DisableNotification();
    while (!stop.load(std::memory_order_relaxed)) {
      HULL_ASSIGN_OR_RETURN(std::optional<virtio::DescriptorChain> chain, queue_.Pop());
      if (!chain.has_value()) break;
      HULL_RETURN_IF_ERROR(Execute(*std::move(chain)));
      if (completed_ >= kInterruptEvery || completed_bytes_ >= kInterruptEveryBytes) {
        InterruptIfWanted();
      }
    }
    InterruptIfWanted();
  } while (!stop.load(std::memory_order_relaxed) && queue_.EnableNotification());
  return absl::OkStatus();
}

void RequestQueue::InterruptIfWanted() {
  completed_ = 0;
  completed_bytes_ = 0;
  if (queue_.NeedsInterrupt()) interrupt_->Raise();
}

absl::Status RequestQueue::Execute(virtio::DescriptorChain chain) {
  ++executed_;
  ++completed_;
  completed_bytes_ += uint64_t{chain.readable_size()} + chain.writable_size();
  const Request request = ParseRequest(chain, disk_);
  if (std::holds_alternative<UnanswerableRequest>(request)) {
    if (log_.malformed.Allow())
      LOG(WARNING) << "disk \"" << id_ << "\": a request without status byte";
    return queue_.Complete(std::move(chain), 0);
  }
  const Outcome outcome = Do(chain, request);
  const uint32_t status_offset = chain.writable_size() - 1;
  const auto status = static_cast<uint8_t>(outcome.status);
  HULL_RETURN_IF_ERROR(chain.Write(status_offset, std::span(&status, 1)));
  // 2.7.8.2: the used length counts bytes from the start of the writable part, so the status byte
  // counts only if all before it was written.
  const uint32_t written = outcome.written == status_offset ? status_offset + 1 : 0;
  return queue_.Complete(std::move(chain), written);
}

RequestQueue::Outcome RequestQueue::Do(const virtio::DescriptorChain& chain,
                                       const Request& request) {
  if (const auto* refused = std::get_if<RefusedRequest>(&request)) return {refused->status, 0};
  const absl::StatusOr<uint32_t> written = Perform(chain, request);
  if (written.ok()) return {RequestStatus::kOk, *written};
  if (log_.failed.Allow()) {
    LOG(ERROR) << "disk \"" << id_ << "\" (" << backend_.name() << "): " << written.status();
  }
  return {RequestStatus::kIoError, 0};
}

absl::StatusOr<uint32_t> RequestQueue::Perform(const virtio::DescriptorChain& chain,
                                               const Request& request) {
  return std::visit(
      Overloaded{
          [&](const ReadRequest& read) -> absl::StatusOr<uint32_t> {
            const auto size = static_cast<uint32_t>(read.range.size);
            HULL_RETURN_IF_ERROR(chain.WritableSlices(0, size, slices_));
            HULL_RETURN_IF_ERROR(backend_.Read(read.range.offset, std::span(slices_)));
            return size;
          },
          [&](const WriteRequest& write) -> absl::StatusOr<uint32_t> {
            HULL_RETURN_IF_ERROR(chain.ReadableSlices(
                sizeof(RequestHeader), static_cast<uint32_t>(write.range.size), slices_));
            HULL_RETURN_IF_ERROR(backend_.Write(write.range.offset, std::span(slices_)));
            HULL_RETURN_IF_ERROR(FlushIfWriteThrough());
            return 0;
          },
          [&](const FlushRequest&) -> absl::StatusOr<uint32_t> {
            if (!disk_.read_only) HULL_RETURN_IF_ERROR(backend_.Flush());
            return 0;
          },
          [&](const GetIdRequest& get_id) -> absl::StatusOr<uint32_t> {
            std::array<uint8_t, kIdSize> id{};
            std::copy_n(id_.begin(), std::min<size_t>(id_.size(), id.size()), id.begin());
            HULL_RETURN_IF_ERROR(chain.Write(0, std::span(id).first(get_id.size)));
            return get_id.size;
          },
          [&](const DiscardRequest& discard) -> absl::StatusOr<uint32_t> {
            for (const Range& range : discard.ranges) {
              if (range.size == 0) continue;
              HULL_RETURN_IF_ERROR(backend_.Discard(range.offset, range.size));
            }
            return 0;
          },
          [&](const WriteZeroesRequest& zeroes) -> absl::StatusOr<uint32_t> {
            if (zeroes.range.size == 0) return 0;
            HULL_RETURN_IF_ERROR(
                backend_.WriteZeroes(zeroes.range.offset, zeroes.range.size, zeroes.may_unmap));
            HULL_RETURN_IF_ERROR(FlushIfWriteThrough());
            return 0;
          },
          // Both were answered by the callers.
          [](const RefusedRequest&) -> absl::StatusOr<uint32_t> { return 0; },
          [](const UnanswerableRequest&) -> absl::StatusOr<uint32_t> { return 0; },
      },
      request);
}

absl::Status RequestQueue::FlushIfWriteThrough() {
  return write_through_ ? backend_.Flush() : absl::OkStatus();
}

}  // namespace hull::block
