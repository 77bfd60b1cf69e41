// A byte stream cut at random must give the same frames as the whole stream.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "guest-agent/protocol/framing.h"

namespace {

using hull::agent::FrameDecoder;

constexpr size_t kLimit = 256;

std::vector<std::vector<uint8_t>> Frames(std::span<const uint8_t> stream, size_t step) {
  uint8_t buffer[kLimit];
  FrameDecoder decoder(buffer);
  std::vector<std::vector<uint8_t>> frames;
  while (!stream.empty()) {
    std::span<const uint8_t> piece = stream.first(std::min(step, stream.size()));
    stream = stream.subspan(piece.size());
    for (;;) {
      const FrameDecoder::Event event = decoder.Push(&piece);
      if (event == FrameDecoder::Event::kTooLong) return frames;
      if (event == FrameDecoder::Event::kNeedMore) break;
      frames.emplace_back(decoder.payload().begin(), decoder.payload().end());
    }
    if (!piece.empty()) std::abort();
  }
  return frames;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t step = 1 + data[0];
  const std::span<const uint8_t> stream(data + 1, size - 1);
  if (Frames(stream, step) != Frames(stream, size)) std::abort();
  return 0;
}
