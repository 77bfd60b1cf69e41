#include "vmm/emulated_host/protocol.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace hull::emulated_host {
namespace {

std::vector<Frame> DecodeAll(FrameDecoder& decoder) {
  std::vector<Frame> frames;
  while (true) {
    absl::StatusOr<std::optional<Frame>> frame = decoder.Next();
    EXPECT_TRUE(frame.ok()) << frame.status();
    if (!frame.ok() || !frame->has_value()) return frames;
    frames.push_back(**frame);
  }
}

std::string Header(uint32_t length, uint8_t type, uint8_t stream, uint8_t pad) {
  std::string header(kHeaderSize, '\0');
  for (int i = 0; i < 4; ++i) header[4 + i] = static_cast<char>(length >> (8 * i));
  header[8] = static_cast<char>(type);
  header[9] = static_cast<char>(stream);
  header[10] = static_cast<char>(pad);
  return header;
}

TEST(FrameTest, LayoutIsTheDocumentedOne) {
  std::string bytes;
  AppendFrame(0x01020304, FrameType::kData, kStderr, "ab", bytes);
  EXPECT_EQ(bytes, std::string("\x04\x03\x02\x01\x02\x00\x00\x00\x13\x02\x00\x00"
                               "ab",
                               14));
}

TEST(FrameTest, AnySplitOfTheBytesGivesTheSameFrames) {
  const std::vector<Frame> frames = {
      {0, FrameType::kHello, 0, EncodeU32(1)},
      {7, FrameType::kData, kStdout, std::string(kMaxPayload, 'x')},
      {7, FrameType::kEnd, kStdout, ""},
      {0xffffffff, FrameType::kClose, 0, ""},
  };
  std::string bytes;
  for (const Frame& frame : frames) AppendFrame(frame, bytes);
  for (const size_t step : {size_t{1}, size_t{5}, kHeaderSize, size_t{4096}, bytes.size()}) {
    FrameDecoder decoder;
    std::vector<Frame> decoded;
    for (size_t at = 0; at < bytes.size(); at += step) {
      decoder.Append(absl::string_view(bytes).substr(at, step));
      for (Frame& frame : DecodeAll(decoder)) decoded.push_back(std::move(frame));
    }
    EXPECT_EQ(decoded, frames) << "step " << step;
  }
}

TEST(FrameTest, RejectsWhatNoPeerSends) {
  const std::string bad[] = {
      Header(0, 0, 0, 0),  // no such type
      Header(0, static_cast<uint8_t>(FrameType::kAwaitReady) + 1, 0, 0),
      Header(0, static_cast<uint8_t>(FrameType::kClose) + 1, 0, 0),
      Header(0, static_cast<uint8_t>(FrameType::kData), kStderr + 1, 0),
      Header(0, static_cast<uint8_t>(FrameType::kData), 0, 1),  // padding
      Header(kMaxPayload + 1, static_cast<uint8_t>(FrameType::kData), 0, 0),
      Header(kMaxOpenPayload + 1, static_cast<uint8_t>(FrameType::kOpen), 0, 0),
      Header(0xffffffff, static_cast<uint8_t>(FrameType::kOpen), 0, 0),
  };
  for (const std::string& header : bad) {
    FrameDecoder decoder;
    decoder.Append(header);
    EXPECT_TRUE(absl::IsInvalidArgument(decoder.Next().status()));
  }
  FrameDecoder decoder;
  decoder.Append(Header(kMaxOpenPayload, static_cast<uint8_t>(FrameType::kOpen), 0, 0));
  absl::StatusOr<std::optional<Frame>> frame = decoder.Next();
  ASSERT_TRUE(frame.ok());
  EXPECT_FALSE(frame->has_value());
}

OpenRequest SomeRequest() {
  OpenRequest request;
  request.argv = {"echo", "", "a b"};
  request.environment = {"A=1", "B="};
  request.directory = "/home/user";
  request.umask = 027;
  request.terminal_streams = 5;
  request.forward_stdin = true;
  request.rows = 24;
  request.columns = 80;
  request.raw = true;
  request.input_flags = 0x500;
  request.output_flags = 5;
  request.local_flags = 0x8a3b;
  request.control_characters[0] = 3;
  request.control_characters[18] = 0xff;
  request.clock_ns = 1'700'000'000'000'000'001;
  return request;
}

TEST(OpenRequestTest, SurvivesEncoding) {
  const absl::StatusOr<OpenRequest> decoded = DecodeOpenRequest(EncodeOpenRequest(SomeRequest()));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, SomeRequest());
}

TEST(OpenRequestTest, RejectsEveryTruncationAndTrailingBytes) {
  const std::string whole = EncodeOpenRequest(SomeRequest());
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(DecodeOpenRequest(absl::string_view(whole).substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(DecodeOpenRequest(whole + "x").ok());
}

TEST(OpenRequestTest, RejectsWhatExecCannotTake) {
  const auto decodes = [](auto change) {
    OpenRequest request = SomeRequest();
    change(request);
    return DecodeOpenRequest(EncodeOpenRequest(request)).ok();
  };
  EXPECT_TRUE(decodes([](OpenRequest&) {}));
  EXPECT_FALSE(decodes([](OpenRequest& r) { r.argv.clear(); }));
  EXPECT_FALSE(decodes([](OpenRequest& r) { r.argv[1] = std::string("a\0b", 3); }));
  EXPECT_FALSE(decodes([](OpenRequest& r) { r.environment[0] = std::string("A=\0", 3); }));
  EXPECT_FALSE(decodes([](OpenRequest& r) { r.directory = "home"; }));
  EXPECT_FALSE(decodes([](OpenRequest& r) { r.directory = ""; }));
  EXPECT_FALSE(decodes([](OpenRequest& r) { r.umask = 01000; }));
  EXPECT_FALSE(decodes([](OpenRequest& r) { r.terminal_streams = 8; }));
}

TEST(OpenRequestTest, ACountBeyondThePayloadCostsNothing) {
  // Four billion arguments are announced; there are none.
  EXPECT_FALSE(DecodeOpenRequest(EncodeU32(0xffffffff)).ok());
}

TEST(PayloadTest, SurviveEncoding) {
  const BootConfig boot{"/var/lib/hull", "/run/hull", "name"};
  EXPECT_EQ(DecodeBootConfig(EncodeBootConfig(boot)).value(), boot);
  EXPECT_FALSE(DecodeBootConfig(EncodeBootConfig({"relative", "/run/hull", ""})).ok());

  const StatusReply status{true, false, 10, 11, 3, 2, uint64_t{4} << 30, 12345, "trouble"};
  EXPECT_EQ(DecodeStatusReply(EncodeStatusReply(status)).value(), status);

  const Failure failure{true, "why"};
  EXPECT_EQ(DecodeFailure(EncodeFailure(failure)).value(), failure);

  const Refusal refusal{2, "no such file"};
  EXPECT_EQ(DecodeRefusal(EncodeRefusal(refusal)).value(), refusal);

  const ExitReport exit{7, 0, uint64_t{1} << 40};
  EXPECT_EQ(DecodeExitReport(EncodeExitReport(exit)).value(), exit);
  EXPECT_FALSE(DecodeExitReport(EncodeExitReport({256, 0, 0})).ok());
  EXPECT_FALSE(DecodeExitReport(EncodeExitReport({0, 65, 0})).ok());
  EXPECT_FALSE(DecodeExitReport(EncodeExitReport({-1, 0, 0})).ok());

  EXPECT_EQ(DecodeU32(EncodeU32(0xfedcba98)).value(), 0xfedcba98);
  EXPECT_EQ(DecodeSignal(EncodeSignal({15, true})).value().signal, 15);
  EXPECT_TRUE(DecodeSignal(EncodeSignal({15, true})).value().group);
  EXPECT_FALSE(DecodeSignal(EncodeSignal({0, false})).ok());
  EXPECT_FALSE(DecodeSignal(EncodeSignal({65, false})).ok());
  EXPECT_EQ(DecodeResize(EncodeResize({50, 132})).value().columns, 132);
  EXPECT_FALSE(DecodeResize("abc").ok());
}

TEST(PayloadTest, ALongMessageIsCutToFitAFrame) {
  const std::string payload = EncodeFailure({false, std::string(10 * kMaxPayload, 'x')});
  EXPECT_LE(payload.size(), kMaxPayload);
  EXPECT_TRUE(DecodeFailure(payload).ok());
}

TEST(OutgoingStreamTest, StopsWithoutCreditAndGoesOnWithIt) {
  OutgoingStream stream;
  size_t sent = 0;
  while (const size_t n = stream.Allowance()) {
    ASSERT_LE(n, kMaxPayload);
    stream.Sent(n);
    sent += n;
  }
  EXPECT_EQ(sent, kStreamWindow);
  ASSERT_TRUE(stream.Credit(10).ok());
  EXPECT_EQ(stream.Allowance(), 10u);
}

TEST(OutgoingStreamTest, RejectsMoreCreditThanTheWindow) {
  OutgoingStream stream;
  EXPECT_FALSE(stream.Credit(1).ok());
  stream.Sent(5);
  EXPECT_FALSE(stream.Credit(6).ok());
  EXPECT_TRUE(stream.Credit(5).ok());
  EXPECT_FALSE(stream.Credit(0xffffffff).ok());
}

TEST(OutgoingStreamTest, NothingIsSentAfterTheEndOrWhenNotWanted) {
  OutgoingStream ended;
  ended.End();
  EXPECT_EQ(ended.Allowance(), 0u);
  OutgoingStream shut;
  shut.Shut();
  EXPECT_EQ(shut.Allowance(), 0u);
  EXPECT_TRUE(shut.done());
}

TEST(IncomingStreamTest, KeepsBytesInOrderAndReturnsTheirCredit) {
  IncomingStream stream;
  OutgoingStream peer;
  std::string sent, received;
  uint32_t seed = 1;
  // Any mixture of sending and taking: the peer never runs dry for good, nothing is lost.
  for (int round = 0; round < 20000; ++round) {
    seed = seed * 1664525 + 1013904223;
    const size_t n = std::min<size_t>(peer.Allowance(), (seed >> 8) % 3000);
    const std::string bytes(n, static_cast<char>('a' + round % 26));
    ASSERT_TRUE(stream.Data(bytes).ok());
    peer.Sent(n);
    sent += bytes;
    const size_t take = std::min<size_t>(stream.Pending().size(), (seed >> 20) % 3100);
    received += std::string(stream.Pending().substr(0, take));
    if (const uint32_t credit = stream.Take(take)) {
      ASSERT_TRUE(peer.Credit(credit).ok());
    }
  }
  received += std::string(stream.Pending());
  EXPECT_EQ(received, sent);
  EXPECT_GT(sent.size(), 10u * kStreamWindow);
}

TEST(IncomingStreamTest, APeerThatExceedsItsCreditIsCaught) {
  IncomingStream stream;
  ASSERT_TRUE(stream.Data(std::string(kStreamWindow, 'x')).ok());
  EXPECT_FALSE(stream.Data("y").ok());
  // Taken, but not yet granted again: still too much.
  stream.Take(1);
  EXPECT_FALSE(stream.Data("y").ok());
}

TEST(IncomingStreamTest, IsFinishedWhenEndedAndTaken) {
  IncomingStream stream;
  ASSERT_TRUE(stream.Data("ab").ok());
  ASSERT_TRUE(stream.End().ok());
  EXPECT_FALSE(stream.finished());
  stream.Take(2);
  EXPECT_TRUE(stream.finished());
  EXPECT_EQ(stream.total_taken(), 2u);
  EXPECT_FALSE(stream.End().ok());
  EXPECT_FALSE(stream.Data("c").ok());
}

TEST(IncomingStreamTest, AbandonedBytesAreDroppedAndBounded) {
  IncomingStream stream;
  ASSERT_TRUE(stream.Data("ab").ok());
  stream.Abandon();
  EXPECT_TRUE(stream.Pending().empty());
  EXPECT_TRUE(stream.finished());
  // What is on its way is no fault of the peer; more than its credit is.
  EXPECT_TRUE(stream.Data(std::string(kStreamWindow - 2, 'x')).ok());
  EXPECT_TRUE(stream.Pending().empty());
  EXPECT_FALSE(stream.Data("x").ok());
}

}  // namespace
}  // namespace hull::emulated_host
