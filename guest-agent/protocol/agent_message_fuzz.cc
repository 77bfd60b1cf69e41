// What the host decodes from a hostile guest: Hello, then control messages.

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "guest-agent/protocol/agent.pb.h"
#include "guest-agent/protocol/framing.h"

namespace {

using hull::agent::FrameDecoder;

// Decodes the first frame as T; what is accepted must survive a round trip.
template <typename T>
void Decode(std::span<const uint8_t>* stream, size_t limit) {
  std::vector<uint8_t> buffer(limit);
  FrameDecoder decoder(buffer);
  if (decoder.Push(stream) != FrameDecoder::Event::kFrame) return;
  T message;
  if (!message.ParseFromArray(decoder.payload().data(),
                              static_cast<int>(decoder.payload().size()))) {
    return;
  }
  T again;
  if (!again.ParseFromString(message.SerializeAsString())) std::abort();
  if (again.SerializeAsString() != message.SerializeAsString()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const uint8_t> stream(data, size);
  Decode<hull::agent::Hello>(&stream, hull::agent::kMaxHelloBytes);
  Decode<hull::agent::AgentMessage>(&stream, hull::agent::kMaxAgentMessageBytes);
  return 0;
}
