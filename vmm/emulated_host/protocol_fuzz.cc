// Arbitrary bytes from the other end of a link: never a crash, and whatever decodes encodes to the
// same bytes.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "vmm/emulated_host/protocol.h"

namespace hull::emulated_host {
namespace {

void Require(bool condition) {
  if (!condition) abort();
}

template <typename Decode, typename Encode>
void RoundTrip(absl::string_view payload, Decode decode, Encode encode) {
  const auto value = decode(payload);
  if (!value.ok()) return;
  const auto again = decode(encode(*value));
  Require(again.ok() && *again == *value);
}

void ConsumePayload(const Frame& frame) {
  switch (frame.type) {
    case FrameType::kOpen:
      return RoundTrip(frame.payload, DecodeOpenRequest, EncodeOpenRequest);
    case FrameType::kBoot:
      return RoundTrip(frame.payload, DecodeBootConfig, EncodeBootConfig);
    case FrameType::kStatus:
      return RoundTrip(frame.payload, DecodeStatusReply, EncodeStatusReply);
    case FrameType::kRefused:
      return RoundTrip(frame.payload, DecodeRefusal, EncodeRefusal);
    case FrameType::kExit:
      return RoundTrip(frame.payload, DecodeExitReport, EncodeExitReport);
    case FrameType::kHello:
      return RoundTrip(frame.payload, DecodeU32, EncodeU32);
    case FrameType::kSignal:
      (void)DecodeSignal(frame.payload);
      return;
    case FrameType::kResize:
      (void)DecodeResize(frame.payload);
      return;
    case FrameType::kFailed:
      (void)DecodeFailure(frame.payload);
      return;
    default:
      return;
  }
}

}  // namespace
}  // namespace hull::emulated_host

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hull::emulated_host;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  FrameDecoder decoder;
  IncomingStream incoming[3];
  OutgoingStream outgoing[3];
  std::string encoded;
  bool broken = false;
  // In pieces, so that the decoder's buffer moves.
  for (size_t at = 0; at < size && !broken; at += 7) {
    decoder.Append(bytes.substr(at, 7));
    while (true) {
      const absl::StatusOr<std::optional<Frame>> frame = decoder.Next();
      broken = !frame.ok();
      if (broken || !frame->has_value()) break;
      AppendFrame(**frame, encoded);
      ConsumePayload(**frame);
      IncomingStream& in = incoming[(*frame)->stream];
      OutgoingStream& out = outgoing[(*frame)->stream];
      switch ((*frame)->type) {
        case FrameType::kData:
          if (in.Data((*frame)->payload).ok()) in.Take(in.Pending().size() / 2);
          break;
        case FrameType::kEnd:
          (void)in.End();
          break;
        case FrameType::kShut:
          in.Abandon();
          break;
        case FrameType::kCredit:
          if (const auto credit = DecodeU32((*frame)->payload); credit.ok()) {
            (void)out.Credit(*credit);
            out.Sent(out.Allowance());
          }
          break;
        default:
          break;
      }
      Require(in.Pending().size() <= kStreamWindow);
      Require(out.Allowance() <= kMaxPayload);
    }
  }
  Require(encoded == bytes.substr(0, encoded.size()));
  return 0;
}
