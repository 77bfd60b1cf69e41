#include "guest-agent/protocol/framing.h"

#include <algorithm>
#include <cstring>

namespace hull::agent {
namespace {

// Appends to `have` bytes at `to` until `want` are there or `*input` is empty.
size_t Fill(uint8_t* to, size_t have, size_t want, std::span<const uint8_t>* input) {
  const size_t n = std::min(want - have, input->size());
  // memcpy() must not see the null pointer of an empty span.
  if (n != 0) std::memcpy(to + have, input->data(), n);
  *input = input->subspan(n);
  return have + n;
}

}  // namespace

void EncodeFrameHeader(uint32_t payload_bytes, std::span<uint8_t, kFrameHeaderBytes> out) {
  for (size_t i = 0; i < kFrameHeaderBytes; ++i) {
    out[i] = static_cast<uint8_t>(payload_bytes >> (8 * i));
  }
}

FrameDecoder::Event FrameDecoder::Push(std::span<const uint8_t>* input) {
  if (complete_) {
    complete_ = false;
    header_have_ = 0;
    payload_have_ = 0;
  }
  header_have_ = Fill(header_, header_have_, kFrameHeaderBytes, input);
  if (header_have_ < kFrameHeaderBytes) return Event::kNeedMore;
  const uint32_t length = uint32_t{header_[0]} | uint32_t{header_[1]} << 8 |
                          uint32_t{header_[2]} << 16 | uint32_t{header_[3]} << 24;
  if (length > buffer_.size()) return Event::kTooLong;
  payload_have_ = Fill(buffer_.data(), payload_have_, length, input);
  if (payload_have_ < length) return Event::kNeedMore;
  complete_ = true;
  return Event::kFrame;
}

}  // namespace hull::agent
