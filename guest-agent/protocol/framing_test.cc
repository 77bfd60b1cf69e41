#include "guest-agent/protocol/framing.h"

#include <array>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::agent {
namespace {

using ::testing::ElementsAre;
using Event = FrameDecoder::Event;

std::vector<uint8_t> Frame(const std::string& payload) {
  std::vector<uint8_t> bytes(kFrameHeaderBytes);
  EncodeFrameHeader(payload.size(), std::span<uint8_t, kFrameHeaderBytes>(bytes));
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

std::string Text(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

TEST(FramingTest, HeaderIsLittleEndian) {
  std::array<uint8_t, kFrameHeaderBytes> header;
  EncodeFrameHeader(0x04030201, header);
  EXPECT_THAT(header, ElementsAre(1, 2, 3, 4));
}

TEST(FrameDecoderTest, LeavesWhatFollowsTheFrame) {
  std::array<uint8_t, 16> buffer;
  FrameDecoder decoder(buffer);
  std::vector<uint8_t> bytes = Frame("hello");
  const std::string rest = "raw bytes";
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  std::span<const uint8_t> input(bytes);
  ASSERT_EQ(decoder.Push(&input), Event::kFrame);
  EXPECT_EQ(Text(decoder.payload()), "hello");
  EXPECT_EQ(Text(input), rest);
}

TEST(FrameDecoderTest, AnySplitGivesTheSameFrames) {
  std::vector<uint8_t> bytes;
  for (const char* payload : {"one", "", "three"}) {
    const std::vector<uint8_t> frame = Frame(payload);
    bytes.insert(bytes.end(), frame.begin(), frame.end());
  }
  for (size_t step = 1; step <= bytes.size(); ++step) {
    std::array<uint8_t, 5> buffer;
    FrameDecoder decoder(buffer);
    std::vector<std::string> frames;
    for (size_t at = 0; at < bytes.size(); at += step) {
      std::span<const uint8_t> piece(bytes.data() + at, std::min(step, bytes.size() - at));
      Event event;
      while ((event = decoder.Push(&piece)) == Event::kFrame) {
        frames.push_back(Text(decoder.payload()));
        EXPECT_TRUE(decoder.at_boundary());
      }
      ASSERT_EQ(event, Event::kNeedMore);
      EXPECT_TRUE(piece.empty());
    }
    EXPECT_THAT(frames, ElementsAre("one", "", "three")) << "step " << step;
  }
}

TEST(FrameDecoderTest, KnowsAnUnfinishedFrame) {
  std::array<uint8_t, 16> buffer;
  FrameDecoder decoder(buffer);
  EXPECT_TRUE(decoder.at_boundary());
  const std::vector<uint8_t> bytes = Frame("abc");
  for (size_t cut : {size_t{1}, size_t{4}, size_t{6}}) {
    FrameDecoder partial(buffer);
    std::span<const uint8_t> input(bytes.data(), cut);
    EXPECT_EQ(partial.Push(&input), Event::kNeedMore);
    EXPECT_FALSE(partial.at_boundary()) << cut;
  }
}

TEST(FrameDecoderTest, TakesTheLongestPayloadAndRefusesOneByteMore) {
  std::array<uint8_t, 8> buffer;
  {
    FrameDecoder decoder(buffer);
    const std::vector<uint8_t> bytes = Frame("12345678");
    std::span<const uint8_t> input(bytes);
    EXPECT_EQ(decoder.Push(&input), Event::kFrame);
  }
  for (uint32_t length : {9u, 0x7fffffffu, 0xffffffffu}) {
    FrameDecoder decoder(buffer);
    std::array<uint8_t, kFrameHeaderBytes + 16> bytes = {};
    EncodeFrameHeader(length, std::span(bytes).first<kFrameHeaderBytes>());
    std::span<const uint8_t> input(bytes);
    EXPECT_EQ(decoder.Push(&input), Event::kTooLong);
    // It stays refused: nothing after a wrong length can be trusted.
    EXPECT_EQ(decoder.Push(&input), Event::kTooLong);
  }
}

}  // namespace
}  // namespace hull::agent
