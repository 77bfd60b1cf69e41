#include "vmm/memory/guest_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "vmm/base/unique_fd.h"

namespace hull {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kHigh = 1ull << 32;

// Two regions with a hole between them, as round the MMIO hole of a PC.
GuestMemory TwoRegions() {
  const std::array<GuestMemory::Range, 2> ranges = {
      {{GuestAddress{0}, 4 * kPage}, {GuestAddress{kHigh}, 2 * kPage}}};
  absl::StatusOr<GuestMemory> memory = GuestMemory::Create(ranges);
  EXPECT_TRUE(memory.ok()) << memory.status();
  return *std::move(memory);
}

absl::StatusCode CreateCode(std::vector<GuestMemory::Range> ranges) {
  return GuestMemory::Create(ranges).status().code();
}

TEST(GuestMemoryTest, RefusesBadRanges) {
  EXPECT_EQ(CreateCode({{GuestAddress{0}, 0}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateCode({{GuestAddress{1}, kPage}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateCode({{GuestAddress{0}, kPage + 1}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateCode({{GuestAddress{0}, 2 * kPage}, {GuestAddress{kPage}, kPage}}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateCode({{GuestAddress{kHigh}, kPage}, {GuestAddress{0}, kPage}}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateCode({{GuestAddress{0 - kPage}, 2 * kPage}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateCode({{GuestAddress{0}, 1ull << 62}}), absl::StatusCode::kResourceExhausted);
}

TEST(GuestMemoryTest, StartsAsZeroesAndKeepsWhatIsWritten) {
  const GuestMemory memory = TwoRegions();
  EXPECT_EQ(memory.total_size(), 6 * kPage);
  EXPECT_EQ(memory.ReadObject<uint64_t>(GuestAddress{kHigh}).value(), 0u);
  ASSERT_TRUE(memory.WriteObject<uint64_t>(GuestAddress{kHigh + 9}, 0x1122334455667788).ok());
  EXPECT_EQ(memory.ReadObject<uint64_t>(GuestAddress{kHigh + 9}).value(), 0x1122334455667788u);
  ASSERT_TRUE(memory.Fill(GuestAddress{kHigh + 10}, 0xee, 2).ok());
  EXPECT_EQ(memory.ReadObject<uint64_t>(GuestAddress{kHigh + 9}).value(), 0x1122334455eeee88u);
}

TEST(GuestMemoryTest, ChecksBounds) {
  const GuestMemory memory = TwoRegions();
  EXPECT_TRUE(memory.Contains(GuestAddress{0}, 4 * kPage));
  EXPECT_FALSE(memory.Contains(GuestAddress{0}, 4 * kPage + 1));
  EXPECT_FALSE(memory.Contains(GuestAddress{4 * kPage}, 1));
  EXPECT_TRUE(memory.Contains(GuestAddress{4 * kPage}, 0));
  EXPECT_FALSE(memory.Contains(GuestAddress{4 * kPage + 1}, 0));
  EXPECT_FALSE(memory.Contains(GuestAddress{kHigh - 1}, 2));
  EXPECT_TRUE(memory.Contains(GuestAddress{kHigh + 2 * kPage - 1}, 1));
  EXPECT_FALSE(memory.Contains(GuestAddress{kHigh}, std::numeric_limits<uint64_t>::max()));
  EXPECT_FALSE(memory.Contains(GuestAddress{std::numeric_limits<uint64_t>::max()}, 2));

  uint64_t value = 7;
  EXPECT_EQ(memory.WriteObject(GuestAddress{4 * kPage - 4}, value).code(),
            absl::StatusCode::kOutOfRange);
  // A refused write has no effect, not even on the part that would have fitted.
  EXPECT_EQ(memory.ReadObject<uint32_t>(GuestAddress{4 * kPage - 4}).value(), 0u);
  EXPECT_FALSE(memory.Slice(GuestAddress{kHigh + kPage}, kPage + 1).ok());
  EXPECT_EQ(memory.Slice(GuestAddress{kHigh + kPage}, kPage)->iov_len, kPage);
}

TEST(GuestMemoryTest, RegionsThatTouchAreStillTwo) {
  const std::array<GuestMemory::Range, 2> ranges = {
      {{GuestAddress{0}, kPage}, {GuestAddress{kPage}, kPage}}};
  const absl::StatusOr<GuestMemory> memory = GuestMemory::Create(ranges);
  ASSERT_TRUE(memory.ok());
  EXPECT_TRUE(memory->Contains(GuestAddress{kPage}, kPage));
  EXPECT_FALSE(memory->Contains(GuestAddress{kPage - 1}, 2));
}

TEST(GuestMemoryTest, AtomicsNeedAlignment) {
  const GuestMemory memory = TwoRegions();
  ASSERT_TRUE(memory.StoreRelease16(GuestAddress{2}, 0xabcd).ok());
  EXPECT_EQ(memory.LoadAcquire16(GuestAddress{2}).value(), 0xabcd);
  EXPECT_EQ(memory.LoadAcquire16(GuestAddress{1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory.StoreRelease16(GuestAddress{4 * kPage}, 0).code(),
            absl::StatusCode::kOutOfRange);
}

TEST(GuestMemoryTest, ViewAccessesTheSameBytes) {
  const GuestMemory memory = TwoRegions();
  const absl::StatusOr<GuestView> view = memory.View(GuestAddress{kPage}, 64);
  ASSERT_TRUE(view.ok());
  view->Store<uint32_t>(4, 0x01020304);
  EXPECT_EQ(memory.ReadObject<uint32_t>(GuestAddress{kPage + 4}).value(), 0x01020304u);
  EXPECT_EQ(view->LoadAcquire16(6), 0x0102);
  EXPECT_FALSE(memory.View(GuestAddress{3 * kPage}, kPage + 1).ok());
}

TEST(GuestMemoryDeathTest, ViewEndsTheProcessOutside) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const GuestMemory memory = TwoRegions();
  const absl::StatusOr<GuestView> view = memory.View(GuestAddress{0}, 8);
  ASSERT_TRUE(view.ok());
  EXPECT_DEATH(view->Load<uint32_t>(5), "");
  EXPECT_DEATH(view->LoadAcquire16(1), "");
  EXPECT_DEATH(GuestView().Load<uint8_t>(0), "");
}

TEST(GuestMemoryTest, CopiesToAndFromSlices) {
  const GuestMemory memory = TwoRegions();
  const std::vector<iovec> slices = {memory.Slice(GuestAddress{8}, 3).value(),
                                     memory.Slice(GuestAddress{kHigh}, 4).value()};
  const std::array<uint8_t, 4> data = {1, 2, 3, 4};
  CopyToSlices(data, slices, 2);
  EXPECT_EQ(memory.ReadObject<uint32_t>(GuestAddress{8}).value(), 0x00010000u);
  EXPECT_EQ(memory.ReadObject<uint32_t>(GuestAddress{kHigh}).value(), 0x00040302u);
  std::array<uint8_t, 3> back{};
  CopyFromSlices(slices, 3, back);
  EXPECT_EQ(back, (std::array<uint8_t, 3>{2, 3, 4}));
  CopyFromSlices(slices, 7, std::span<uint8_t>());
}

TEST(GuestMemoryDeathTest, CopiesNeverRunOverTheSlices) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const GuestMemory memory = TwoRegions();
  const std::vector<iovec> slices = {memory.Slice(GuestAddress{0}, 3).value()};
  std::array<uint8_t, 3> data{};
  EXPECT_DEATH(CopyToSlices(data, slices, 1), "ran over the end");
  EXPECT_DEATH(CopyFromSlices(slices, 4, data), "ran over the end");
}

TEST(GuestMemoryTest, HugePagesAreAWishWithinTheMemory) {
  constexpr uint64_t kHuge = uint64_t{2} << 20;
  GuestMemory memory =
      *GuestMemory::Create(std::array{GuestMemory::Range{GuestAddress{0}, 3 * kHuge}});
  EXPECT_TRUE(memory.PreferHugePages(GuestAddress{kHuge}, kHuge).ok());
  EXPECT_TRUE(memory.AvoidHugePages(GuestAddress{0}, 3 * kHuge).ok());
  EXPECT_EQ(memory.AvoidHugePages(GuestAddress{2 * kHuge}, 2 * kHuge).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(memory.PreferHugePages(GuestAddress{3 * kHuge}, kHuge).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.regions()[0].host) % kHuge, 0u);
}

TEST(GuestMemoryTest, MapsAFilePrivately) {
  const UniqueFd file(memfd_create("kernel", MFD_CLOEXEC));
  ASSERT_TRUE(file.valid());
  const std::string content(2 * kPage - 100, 'k');
  ASSERT_EQ(write(file.get(), content.data(), content.size()),
            static_cast<ssize_t>(content.size()));

  GuestMemory memory = TwoRegions();
  ASSERT_TRUE(memory.Fill(GuestAddress{0}, 'x', 4 * kPage).ok());
  ASSERT_TRUE(memory.MapFile(GuestAddress{kPage}, kPage, file.get(), kPage).ok());
  EXPECT_EQ(memory.ReadObject<char>(GuestAddress{kPage - 1}).value(), 'x');
  EXPECT_EQ(memory.ReadObject<char>(GuestAddress{kPage}).value(), 'k');
  // What lies between the file's end and the page's is zeroes.
  EXPECT_EQ(memory.ReadObject<char>(GuestAddress{2 * kPage - 1}).value(), '\0');
  EXPECT_EQ(memory.ReadObject<char>(GuestAddress{2 * kPage}).value(), 'x');

  ASSERT_TRUE(memory.WriteObject<char>(GuestAddress{kPage}, 'w').ok());
  char in_file = 0;
  ASSERT_EQ(pread(file.get(), &in_file, 1, kPage), 1);
  EXPECT_EQ(in_file, 'k') << "a guest's write reached the shared file";
}

TEST(GuestMemoryTest, RefusesBadFileMappings) {
  const UniqueFd file(memfd_create("kernel", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), kPage), 0);
  GuestMemory memory = TwoRegions();
  const GuestAddress start{kPage};
  EXPECT_EQ(memory.MapFile(start, 2 * kPage, file.get(), 0).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(memory.MapFile(start, kPage, file.get(), kPage).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(memory.MapFile(start, kPage + 1, file.get(), 0).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory.MapFile(GuestAddress{kPage + 8}, kPage, file.get(), 0).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory.MapFile(start, kPage, file.get(), 8).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory.MapFile(start, kPage, file.get(), -4096).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory.MapFile(GuestAddress{4 * kPage}, kPage, file.get(), 0).code(),
            absl::StatusCode::kOutOfRange);
  const absl::StatusOr<UniqueFd> zero = UniqueFd::Open("/dev/zero", O_RDWR);
  ASSERT_TRUE(zero.ok());
  EXPECT_EQ(memory.MapFile(start, kPage, zero->get(), 0).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace hull
