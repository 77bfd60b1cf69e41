// One end of a link that carries frames, on a non-blocking descriptor.

#ifndef VMM_EMULATED_HOST_FRAME_CHANNEL_H_
#define VMM_EMULATED_HOST_FRAME_CHANNEL_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/emulated_host/protocol.h"

namespace hull::emulated_host {

// Not thread-safe.
class FrameChannel {
 public:
  FrameChannel() = default;
  // `fd` must be non-blocking: a stream socket, or a virtio-serial port.
  explicit FrameChannel(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  bool valid() const { return fd_.valid(); }
  void Close() { fd_.Reset(); }

  // Reads what is there, at most a bounded amount. kUnavailable when the peer has closed; what came
  // before that is still to be had from Next().
  absl::Status Read();
  // The next frame read; nullopt when there is none. See FrameDecoder::Next.
  absl::StatusOr<std::optional<Frame>> Next() { return decoder_.Next(); }

  // Appends to the queue; Flush() sends.
  void Queue(uint32_t session, FrameType type, uint8_t stream, absl::string_view payload) {
    AppendFrame(session, type, stream, payload, out_);
  }
  size_t queued() const { return out_.size() - sent_; }
  // Writes as much as the descriptor takes. kUnavailable when the peer has closed.
  absl::Status Flush();

  // POLLIN, and POLLOUT when there is something to send.
  short PollEvents() const;

 private:
  UniqueFd fd_;
  bool is_socket_ = true;  // until a write shows that it is a port
  FrameDecoder decoder_;
  std::string out_;
  size_t sent_ = 0;
};

}  // namespace hull::emulated_host

#endif  // VMM_EMULATED_HOST_FRAME_CHANNEL_H_
