#include "vmm/container/attach_protocol.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace hull::container {
namespace {

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("attach protocol: ", what));
}

uint32_t ByteAt(absl::string_view bytes, size_t i) { return static_cast<unsigned char>(bytes[i]); }

uint32_t NumberAt(absl::string_view payload) {
  return ByteAt(payload, 0) | ByteAt(payload, 1) << 8 | ByteAt(payload, 2) << 16 |
         ByteAt(payload, 3) << 24;
}

}  // namespace

absl::StatusOr<AttachFrame> DecodeAttachFrame(absl::string_view message) {
  if (message.empty()) return Malformed("an empty message");
  if (message.size() > kMaxAttachFrame) return Malformed("a message that is too long");
  const absl::string_view payload = message.substr(1);
  AttachFrame frame = {.type = static_cast<AttachType>(ByteAt(message, 0))};
  switch (frame.type) {
    case AttachType::kStandardOutput:
    case AttachType::kStandardError:
    case AttachType::kConsole:
    case AttachType::kNotice:
    case AttachType::kStdin:
    case AttachType::kProcesses:
    case AttachType::kStatistics:
    case AttachType::kExecPart:
    case AttachType::kControlRequest:
      frame.data = payload;
      return frame;
    case AttachType::kControlReply:
      if (payload.empty() || ByteAt(payload, 0) > 1) return Malformed("a part of no answer");
      frame.number = ByteAt(payload, 0);
      frame.data = payload.substr(1);
      return frame;
    case AttachType::kHello:
    case AttachType::kExited:
    case AttachType::kPaused:
      if (payload.size() != 1) return Malformed("a number of the wrong length");
      frame.number = ByteAt(payload, 0);
      return frame;
    case AttachType::kSignal:
      if (payload.size() != 1) return Malformed("a number of the wrong length");
      frame.number = ByteAt(payload, 0);
      if (frame.number < 1 || frame.number > 64) return Malformed("not a signal");
      return frame;
    case AttachType::kOutputClosed:
      if (payload.size() != 1) return Malformed("a number of the wrong length");
      frame.number = ByteAt(payload, 0);
      if (frame.number != static_cast<uint32_t>(AttachType::kStandardOutput) &&
          frame.number != static_cast<uint32_t>(AttachType::kStandardError)) {
        return Malformed("not an output stream");
      }
      return frame;
    case AttachType::kResize:
      if (payload.size() != 4) return Malformed("a number of the wrong length");
      frame.number = NumberAt(payload);
      return frame;
    case AttachType::kStdinCredit:
      if (payload.size() != 4) return Malformed("a number of the wrong length");
      frame.number = NumberAt(payload);
      if (frame.number > kInitialStdinCredit) return Malformed("a credit above the window");
      return frame;
    case AttachType::kFailed:
      if (payload.empty()) return Malformed("a number of the wrong length");
      frame.number = ByteAt(payload, 0);
      frame.data = payload.substr(1);
      return frame;
    case AttachType::kStarted:
    case AttachType::kStdinEnd:
    case AttachType::kKill:
    case AttachType::kAttach:
    case AttachType::kExec:
    case AttachType::kDetach:
    case AttachType::kListProcesses:
    case AttachType::kGetStatistics:
    case AttachType::kPause:
    case AttachType::kResume:
      if (!payload.empty()) return Malformed("a payload where there is none");
      return frame;
  }
  return Malformed("a message of unknown type");
}

std::string EncodeAttachFrame(const AttachFrame& frame) {
  std::string message(1, static_cast<char>(frame.type));
  switch (frame.type) {
    case AttachType::kHello:
    case AttachType::kExited:
    case AttachType::kPaused:
    case AttachType::kSignal:
    case AttachType::kOutputClosed:
    case AttachType::kFailed:
    case AttachType::kControlReply:
      message += static_cast<char>(frame.number);
      break;
    case AttachType::kStdinCredit:
    case AttachType::kResize:
      for (int shift = 0; shift < 32; shift += 8) {
        message += static_cast<char>(frame.number >> shift);
      }
      break;
    default:
      break;
  }
  const size_t room = kMaxAttachFrame - message.size();
  absl::StrAppend(&message, frame.data.substr(0, room));
  return message;
}

uint32_t ResizeNumber(const TerminalSize& size) { return size.rows | uint32_t{size.columns} << 16; }

TerminalSize FrameTerminalSize(const AttachFrame& frame) {
  return {.rows = static_cast<uint16_t>(frame.number),
          .columns = static_cast<uint16_t>(frame.number >> 16)};
}

}  // namespace hull::container
