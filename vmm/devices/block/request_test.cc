#include "vmm/devices/block/request.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "tests/fakes/fake_queue.h"

namespace hull::block {
namespace {

constexpr uint64_t kDiskSize = 64 * kSectorSize;

class RequestTest : public testing::Test {
 protected:
  RequestTest()
      : memory_(
            GuestMemory::Create(std::array{GuestMemory::Range{GuestAddress{0}, 1 << 20}}).value()),
        allocator_(memory_, GuestAddress{0}, 1 << 20),
        driver_(allocator_, 16, 0),
        queue_(virtio::Queue::Create(memory_, driver_.config(), 0, 16).value()) {}

  Request Parse(fakes::ChainBuilder& builder) {
    builder.Send();
    absl::StatusOr<std::optional<virtio::DescriptorChain>> chain = queue_.Pop();
    EXPECT_TRUE(chain.ok() && chain->has_value());
    Request request = ParseRequest(**chain, disk_);
    EXPECT_TRUE(queue_.Complete(**std::move(chain), 0).ok());
    driver_.PopUsed();
    return request;
  }
  Request Parse(uint32_t type, uint64_t sector, uint32_t out, uint32_t in) {
    fakes::ChainBuilder builder = driver_.Chain();
    builder.ReadableObject(RequestHeader{type, 0, sector});
    if (out > 0) builder.Readable(std::vector<uint8_t>(out));
    if (in > 0) builder.Writable(in);
    return Parse(builder);
  }
  Request ParseSegments(uint32_t type, const std::vector<RangeSegment>& segments) {
    fakes::ChainBuilder builder = driver_.Chain();
    builder.ReadableObject(RequestHeader{type, 0, 0});
    for (const RangeSegment& segment : segments) builder.ReadableObject(segment);
    return Parse(builder.Writable(1));
  }
  static bool IoError(const Request& request) {
    const auto* refused = std::get_if<RefusedRequest>(&request);
    return refused != nullptr && refused->status == RequestStatus::kIoError;
  }
  static bool Unsupported(const Request& request) {
    const auto* refused = std::get_if<RefusedRequest>(&request);
    return refused != nullptr && refused->status == RequestStatus::kUnsupported;
  }

  const GuestMemory memory_;
  fakes::GuestAllocator allocator_;
  fakes::FakeQueue driver_;
  virtio::Queue queue_;
  DiskShape disk_{kDiskSize, false};
};

TEST_F(RequestTest, ReadsAndWrites) {
  const Request read = Parse(kTypeIn, 3, 0, 1024 + 1);
  ASSERT_TRUE(std::holds_alternative<ReadRequest>(read));
  EXPECT_EQ(std::get<ReadRequest>(read).range.offset, 3 * kSectorSize);
  EXPECT_EQ(std::get<ReadRequest>(read).range.size, 1024u);
  const Request write = Parse(kTypeOut, 63, 512, 1);
  ASSERT_TRUE(std::holds_alternative<WriteRequest>(write));
  EXPECT_EQ(std::get<WriteRequest>(write).range.offset, 63 * kSectorSize);
  EXPECT_EQ(std::get<WriteRequest>(write).range.size, 512u);
  EXPECT_TRUE(std::holds_alternative<ReadRequest>(Parse(kTypeIn, 64, 0, 1)))
      << "nothing, at the end";
}

TEST_F(RequestTest, FramingFollowsSizesAndNotDescriptors) {
  const RequestHeader header{kTypeOut, 0, 1};
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(&header), sizeof(header));
  const std::vector<uint8_t> data(505);
  // The header in two pieces, the second with the first 7 bytes of data.
  std::vector<uint8_t> second(bytes.begin() + 5, bytes.end());
  second.resize(second.size() + 7);
  fakes::ChainBuilder builder = driver_.Chain();
  const Request write =
      Parse(builder.Readable(bytes.first(5)).Readable(second).Readable(data).Writable(1));
  ASSERT_TRUE(std::holds_alternative<WriteRequest>(write));
  EXPECT_EQ(std::get<WriteRequest>(write).range.size, 512u);
  // The status in the same buffer as the data.
  fakes::ChainBuilder in = driver_.Chain();
  EXPECT_TRUE(std::holds_alternative<ReadRequest>(
      Parse(in.ReadableObject(RequestHeader{kTypeIn, 0, 0}).Writable(513))));
}

TEST_F(RequestTest, RefusesWhatIsNotOnTheDisk) {
  EXPECT_TRUE(IoError(Parse(kTypeIn, 63, 0, 1024 + 1)));
  EXPECT_TRUE(IoError(Parse(kTypeIn, 64, 0, 512 + 1)));
  EXPECT_TRUE(IoError(Parse(kTypeIn, 65, 0, 1)));
  EXPECT_TRUE(IoError(Parse(kTypeOut, 64, 512, 1)));
  // Sectors whose byte offset wraps round to the disk.
  EXPECT_TRUE(IoError(Parse(kTypeIn, 1ull << 55, 0, 512 + 1)));
  EXPECT_TRUE(IoError(Parse(kTypeOut, (1ull << 55) + 1, 512, 1)));
  EXPECT_TRUE(IoError(Parse(kTypeIn, ~0ull, 0, 512 + 1)));
}

TEST_F(RequestTest, RefusesPartsOfSectors) {
  EXPECT_TRUE(IoError(Parse(kTypeIn, 0, 0, 511 + 1)));
  EXPECT_TRUE(IoError(Parse(kTypeIn, 0, 0, 513 + 1)));
  EXPECT_TRUE(IoError(Parse(kTypeOut, 0, 100, 1)));
}

TEST_F(RequestTest, RefusesTruncatedRequests) {
  fakes::ChainBuilder short_header = driver_.Chain();
  EXPECT_TRUE(IoError(Parse(short_header.Readable(std::vector<uint8_t>(15)).Writable(1))));
  fakes::ChainBuilder no_header = driver_.Chain();
  EXPECT_TRUE(IoError(Parse(no_header.Writable(513))));
  EXPECT_TRUE(std::holds_alternative<UnanswerableRequest>(Parse(kTypeOut, 0, 512, 0)));
}

TEST_F(RequestTest, KnowsTheOtherTypes) {
  EXPECT_TRUE(std::holds_alternative<FlushRequest>(Parse(kTypeFlush, 0, 0, 1)));
  const Request id = Parse(kTypeGetId, 0, 0, kIdSize + 1);
  ASSERT_TRUE(std::holds_alternative<GetIdRequest>(id));
  EXPECT_EQ(std::get<GetIdRequest>(id).size, kIdSize);
  EXPECT_EQ(std::get<GetIdRequest>(Parse(kTypeGetId, 0, 0, 5)).size, 4u);
  EXPECT_EQ(std::get<GetIdRequest>(Parse(kTypeGetId, 0, 0, 100)).size, kIdSize);
  for (const uint32_t type : {2u, 3u, 5u, 7u, 10u, 12u, 14u, 16u, 0x80000000u, ~0u}) {
    EXPECT_TRUE(Unsupported(Parse(type, 0, 512, 513))) << type;
  }
}

TEST_F(RequestTest, ParsesDiscards) {
  const Request discard = ParseSegments(kTypeDiscard, {{1, 2, 0}, {63, 1, 0}});
  ASSERT_TRUE(std::holds_alternative<DiscardRequest>(discard));
  const auto& ranges = std::get<DiscardRequest>(discard).ranges;
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[1].offset, 63 * kSectorSize);
  EXPECT_EQ(ranges[1].size, kSectorSize);

  EXPECT_TRUE(Unsupported(ParseSegments(kTypeDiscard, {{1, 2, kRangeUnmap}})));
  EXPECT_TRUE(Unsupported(ParseSegments(kTypeDiscard, {{1, 2, 0}, {1, 2, 2}})));
  EXPECT_TRUE(IoError(ParseSegments(kTypeDiscard, {})));
  EXPECT_TRUE(IoError(ParseSegments(kTypeDiscard, {{63, 2, 0}})));
  EXPECT_TRUE(IoError(ParseSegments(kTypeDiscard, {{~0ull, 1, 0}})));
  EXPECT_TRUE(IoError(ParseSegments(kTypeDiscard, {{0, ~0u, 0}})));
  EXPECT_TRUE(IoError(Parse(kTypeDiscard, 0, 17, 1)));
  EXPECT_TRUE(IoError(Parse(kTypeDiscard, 0, 16 * (kMaxDiscardSegments + 1), 1)));
  EXPECT_TRUE(
      std::holds_alternative<DiscardRequest>(Parse(kTypeDiscard, 0, 16 * kMaxDiscardSegments, 1)));
  disk_.size = 1ull << 40;
  EXPECT_TRUE(std::holds_alternative<DiscardRequest>(
      ParseSegments(kTypeDiscard, {{0, kMaxDiscardSectors, 0}})));
  EXPECT_TRUE(IoError(ParseSegments(kTypeDiscard, {{0, kMaxDiscardSectors + 1, 0}})));
}

TEST_F(RequestTest, ParsesWriteZeroes) {
  const Request zeroes = ParseSegments(kTypeWriteZeroes, {{4, 8, kRangeUnmap}});
  ASSERT_TRUE(std::holds_alternative<WriteZeroesRequest>(zeroes));
  EXPECT_EQ(std::get<WriteZeroesRequest>(zeroes).range.offset, 4 * kSectorSize);
  EXPECT_EQ(std::get<WriteZeroesRequest>(zeroes).range.size, 8 * kSectorSize);
  EXPECT_TRUE(std::get<WriteZeroesRequest>(zeroes).may_unmap);
  EXPECT_FALSE(
      std::get<WriteZeroesRequest>(ParseSegments(kTypeWriteZeroes, {{4, 8, 0}})).may_unmap);
  EXPECT_TRUE(Unsupported(ParseSegments(kTypeWriteZeroes, {{4, 8, 2}})));
  EXPECT_TRUE(IoError(ParseSegments(kTypeWriteZeroes, {{60, 5, 0}})));
  EXPECT_TRUE(IoError(ParseSegments(kTypeWriteZeroes, {{0, 1, 0}, {1, 1, 0}})));
  disk_.size = 1ull << 40;
  EXPECT_TRUE(IoError(ParseSegments(kTypeWriteZeroes, {{0, kMaxWriteZeroesSectors + 1, 0}})));
}

TEST_F(RequestTest, ReadOnlyDisksAreOnlyRead) {
  disk_.read_only = true;
  EXPECT_TRUE(std::holds_alternative<ReadRequest>(Parse(kTypeIn, 0, 0, 513)));
  EXPECT_TRUE(std::holds_alternative<FlushRequest>(Parse(kTypeFlush, 0, 0, 1)));
  EXPECT_TRUE(IoError(Parse(kTypeOut, 0, 512, 1)));
  EXPECT_TRUE(Unsupported(ParseSegments(kTypeDiscard, {{0, 1, 0}})));
  EXPECT_TRUE(Unsupported(ParseSegments(kTypeWriteZeroes, {{0, 1, 0}})));
}

}  // namespace
}  // namespace hull::block
