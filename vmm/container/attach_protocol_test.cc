#include "vmm/container/attach_protocol.h"

#include <string>

#include "gtest/gtest.h"

namespace hull::container {
namespace {

void ExpectRoundTrip(const AttachFrame& frame) {
  const std::string message = EncodeAttachFrame(frame);
  const absl::StatusOr<AttachFrame> decoded = DecodeAttachFrame(message);
  ASSERT_TRUE(decoded.ok()) << static_cast<int>(frame.type) << decoded.status();
  EXPECT_EQ(decoded->type, frame.type);
  EXPECT_EQ(decoded->data, frame.data);
  EXPECT_EQ(decoded->number, frame.number);
}

TEST(AttachProtocolTest, EveryFrameComesBackAsItWas) {
  const absl::string_view bytes("\0\xff\n", 3);
  for (const AttachType type :
       {AttachType::kStandardOutput, AttachType::kStandardError, AttachType::kConsole,
        AttachType::kNotice, AttachType::kStdin, AttachType::kProcesses, AttachType::kStatistics,
        AttachType::kExecPart}) {
    ExpectRoundTrip({.type = type, .data = bytes});
    ExpectRoundTrip({.type = type, .data = ""});
  }
  ExpectRoundTrip({.type = AttachType::kHello, .number = kAttachVersion});
  ExpectRoundTrip({.type = AttachType::kExited, .number = 255});
  ExpectRoundTrip({.type = AttachType::kFailed, .data = "it broke", .number = 125});
  ExpectRoundTrip({.type = AttachType::kStdinCredit, .number = 0x10000});
  ExpectRoundTrip({.type = AttachType::kStdinCredit, .number = 0x1234});
  ExpectRoundTrip({.type = AttachType::kSignal, .number = 64});
  ExpectRoundTrip({.type = AttachType::kStdinEnd});
  ExpectRoundTrip({.type = AttachType::kKill});
  for (const AttachType type : {AttachType::kExec, AttachType::kDetach, AttachType::kListProcesses,
                                AttachType::kGetStatistics}) {
    ExpectRoundTrip({.type = type});
  }
  const AttachFrame resize = {.type = AttachType::kResize,
                              .number = ResizeNumber({.rows = 65535, .columns = 258})};
  ExpectRoundTrip(resize);
  EXPECT_EQ(FrameTerminalSize(resize), (TerminalSize{.rows = 65535, .columns = 258}));
  ExpectRoundTrip({.type = AttachType::kOutputClosed,
                   .number = static_cast<uint32_t>(AttachType::kStandardError)});
}

TEST(AttachProtocolTest, LongTextIsCut) {
  const std::string text(2 * kMaxAttachPayload, 'x');
  const std::string message =
      EncodeAttachFrame({.type = AttachType::kFailed, .data = text, .number = 125});
  EXPECT_EQ(message.size(), kMaxAttachFrame);
  EXPECT_TRUE(DecodeAttachFrame(message).ok());
}

TEST(AttachProtocolTest, RefusesWhatIsNoFrame) {
  const auto message = [](AttachType type, const std::string& payload) {
    return std::string(1, static_cast<char>(type)) + payload;
  };
  for (const std::string& bad :
       {std::string(), std::string(1, '\0'), std::string("\xff payload"),
        message(AttachType::kHello, ""), message(AttachType::kHello, "12"),
        message(AttachType::kSignal, std::string(1, '\0')), message(AttachType::kSignal, "\x41"),
        message(AttachType::kSignal, "\x01\x01"), message(AttachType::kExited, ""),
        message(AttachType::kFailed, ""), message(AttachType::kKill, "x"),
        message(AttachType::kStdinEnd, "x"), message(AttachType::kExec, "x"),
        message(AttachType::kResize, "123"), message(AttachType::kStdinCredit, "123"),
        message(AttachType::kStdinCredit, std::string("\x01\x00\x01\x00", 4)),
        message(AttachType::kStdinCredit, "\xff\xff\xff\xff"),
        message(AttachType::kOutputClosed, "\x04"),
        message(AttachType::kStdin, std::string(kMaxAttachPayload + 1, 'x'))}) {
    EXPECT_TRUE(absl::IsInvalidArgument(DecodeAttachFrame(bad).status())) << bad.substr(0, 10);
  }
}

}  // namespace
}  // namespace hull::container
