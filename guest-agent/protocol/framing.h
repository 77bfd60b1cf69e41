// Frames of the agent protocol: a little-endian 32-bit length, then that many bytes of one encoded
// message. Used by the guest agent and by the host, so: no allocation, no exceptions, no absl.

#ifndef GUEST_AGENT_PROTOCOL_FRAMING_H_
#define GUEST_AGENT_PROTOCOL_FRAMING_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace hull::agent {

// The vsock port of host CID 2 to which the agent connects.
inline constexpr uint32_t kAgentPort = 1024;

inline constexpr size_t kFrameHeaderBytes = 4;

// Longest payloads, by message. A peer that announces more is in violation.
inline constexpr size_t kMaxHelloBytes = 64;
inline constexpr size_t kMaxAgentMessageBytes = 4096;
inline constexpr size_t kMaxHostMessageBytes = 1024 * 1024;

// Writes the header of a frame whose payload has `payload_bytes` bytes.
void EncodeFrameHeader(uint32_t payload_bytes, std::span<uint8_t, kFrameHeaderBytes> out);

// Takes a byte stream apart into frames. Incremental: bytes may come in pieces of any size. Never
// consumes a byte beyond the frame that it completes, so what follows a Hello on a stream
// connection stays with the caller. Not thread-safe.
class FrameDecoder {
 public:
  enum class Event {
    kNeedMore,  // all input is consumed; no frame is complete
    kFrame,     // payload() is one whole frame; call Push() again with the rest of the input
    kTooLong,   // the peer announced more than the buffer holds; the stream cannot be used further
  };

  // `buffer` receives payloads, and its size is the longest payload accepted. It must outlive this.
  explicit FrameDecoder(std::span<uint8_t> buffer) : buffer_(buffer) {}

  // Consumes bytes from the front of `*input`, at most to the end of one frame.
  Event Push(std::span<const uint8_t>* input);

  // After kFrame, until the next Push().
  std::span<const uint8_t> payload() const { return buffer_.first(payload_have_); }

  // No byte of an unfinished frame is held: the stream may end here without loss.
  bool at_boundary() const { return header_have_ == 0 || complete_; }

 private:
  std::span<uint8_t> buffer_;
  uint8_t header_[kFrameHeaderBytes] = {};
  size_t header_have_ = 0;
  size_t payload_have_ = 0;
  bool complete_ = false;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_PROTOCOL_FRAMING_H_
