#include "vmm/boot/linux_loader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/base/file_io.h"
#include "vmm/base/unique_fd.h"
#include "vmm/boot/test_images.h"
#include "vmm/memory/guest_memory.h"

namespace hull::boot {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kFloor = kMiB;

UniqueFd FileOf(std::span<const uint8_t> data) {
  UniqueFd fd(memfd_create("image", MFD_CLOEXEC));
  EXPECT_TRUE(fd.valid());
  EXPECT_TRUE(WriteFull(fd.get(),
                        absl::string_view(reinterpret_cast<const char*>(data.data()), data.size()))
                  .ok());
  return fd;
}

class LinuxLoaderTest : public testing::Test {
 protected:
  LinuxLoaderTest()
      : memory_(*GuestMemory::Create(std::array{GuestMemory::Range{GuestAddress{0}, 32 * kMiB}})) {}

  std::vector<uint8_t> Bytes(uint64_t address, size_t size) {
    std::vector<uint8_t> out(size);
    EXPECT_TRUE(memory_.Read(GuestAddress{address}, out).ok());
    return out;
  }
  std::string KernelError(std::span<const uint8_t> image) {
    const auto kernel = LoadKernel(memory_, kFloor, FileOf(image).get());
    EXPECT_TRUE(absl::IsInvalidArgument(kernel.status())) << kernel.status();
    return std::string(kernel.status().message());
  }

  GuestMemory memory_;
};

TEST_F(LinuxLoaderTest, ElfSegmentsLandWholeAndBssIsZero) {
  // Two pages and a bit, from the middle of a page on, with zeroes behind.
  const auto image = TestElf({{0x200800, 0x1800, 0x2900, 0x6000}}, 0x200800);
  const UniqueFd file = FileOf(image);
  const auto kernel = LoadKernel(memory_, kFloor, file.get());
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_EQ(kernel->entry, 0x200800u);
  EXPECT_EQ(kernel->end, 0x206800u);
  EXPECT_FALSE(kernel->header.has_value());
  EXPECT_EQ(Bytes(0x200800, 0x2900),
            std::vector<uint8_t>(image.begin() + 0x1800, image.begin() + 0x4100));
  EXPECT_THAT(Bytes(0x203100, 0x206800 - 0x203100), Each(0));
  EXPECT_THAT(Bytes(0x200000, 0x800), Each(0));
}

TEST_F(LinuxLoaderTest, WholePagesAreMappedAndStayPrivate) {
  const auto image = TestElf({{0x200000, 0x1000, 0x2000, 0x2000}}, 0x200000);
  const UniqueFd file = FileOf(image);
  ASSERT_TRUE(LoadKernel(memory_, kFloor, file.get()).ok());
  // The guest's writes do not reach the file …
  ASSERT_TRUE(memory_.WriteObject<uint8_t>(GuestAddress{0x200000}, 0xee).ok());
  uint8_t byte = 0;
  ASSERT_EQ(pread(file.get(), &byte, 1, 0x1000), 1);
  EXPECT_EQ(byte, image[0x1000]);
  // … but a page that it did not write is still the file's: not a copy.
  const uint8_t changed = 0x77;
  ASSERT_EQ(pwrite(file.get(), &changed, 1, 0x2000), 1);
  EXPECT_EQ(Bytes(0x201000, 1)[0], 0x77);
}

TEST_F(LinuxLoaderTest, WritableSegmentsWithinOneHugePageAreCopied) {
  const auto image = TestElf({{0x200000, 0x200000, 0x3000, 0x3000},
                              {0x400000, 0x400000, 0x2800, 0x4000, true},
                              {0x480000, 0x403000, 0x1000, 0x300000, true}},
                             0x200000);
  const UniqueFd file = FileOf(image);
  ASSERT_TRUE(LoadKernel(memory_, kFloor, file.get()).ok());
  EXPECT_EQ(Bytes(0x400000, 0x2800),
            std::vector<uint8_t>(image.begin() + 0x400000, image.begin() + 0x402800));
  EXPECT_THAT(Bytes(0x402800, 0x480000 - 0x402800), Each(0));
  EXPECT_EQ(Bytes(0x480000, 0x1000),
            std::vector<uint8_t>(image.begin() + 0x403000, image.begin() + 0x404000));
  EXPECT_THAT(Bytes(0x481000, 0x300000 - 0x1000), Each(0));
  const uint8_t changed = 0x77;
  ASSERT_EQ(pwrite(file.get(), &changed, 1, 0x401000), 1);
  EXPECT_EQ(Bytes(0x401000, 1)[0], image[0x401000]);
}

TEST_F(LinuxLoaderTest, WritableSegmentsThatNeedMoreAreMapped) {
  // More than a huge page of them, or in one page with what is only read.
  const std::vector<TestSegment> kernels[] = {
      {{0x200000, 0x200000, 0x1000, 0x1000}, {0x400000, 0x400000, 0x201000, 0x201000, true}},
      {{0x200000, 0x200000, 0x1000, 0x1000}, {0x201000, 0x201000, 0x201000, 0x201000, true}},
      {{0x200000, 0x200000, 0x1000, 0x1000}, {0x201000, 0x201000, 0x1000, 0x1000, true}},
  };
  for (const std::vector<TestSegment>& segments : kernels) {
    const UniqueFd file = FileOf(TestElf(segments, 0x200000));
    ASSERT_TRUE(LoadKernel(memory_, kFloor, file.get()).ok());
    const uint8_t changed = 0x77;
    ASSERT_EQ(pwrite(file.get(), &changed, 1, static_cast<off_t>(segments[1].file_offset)), 1);
    EXPECT_EQ(Bytes(segments[1].address, 1)[0], 0x77);
  }
}

TEST_F(LinuxLoaderTest, TheLastHugePageOfWhatIsReadIsMappedToItsEnd) {
  const auto image = TestElf(
      {{0x200000, 0x200000, 0x201000, 0x201000}, {0x600000, 0x600000, 0x1000, 0x1000, true}},
      0x200000);
  ASSERT_TRUE(LoadKernel(memory_, kFloor, FileOf(image).get()).ok());
  EXPECT_EQ(Bytes(0x200000, 0x400000),
            std::vector<uint8_t>(image.begin() + 0x200000, image.begin() + 0x600000));
  EXPECT_EQ(Bytes(0x600000, 0x1000),
            std::vector<uint8_t>(image.begin() + 0x600000, image.begin() + 0x601000));
}

TEST_F(LinuxLoaderTest, NothingIsMappedBehindASegmentWhereThatIsNotTheFiles) {
  // The file ends; the segment ends in zeroes; another is there; offsets are not those of huge
  // pages.
  const std::vector<TestSegment> kernels[] = {
      {{0x200000, 0x200000, 0x3000, 0x3000}},
      {{0x200000, 0x200000, 0x3000, 0x4000}, {0x600000, 0x600000, 0x1000, 0x1000, true}},
      {{0x200000, 0x200000, 0x3000, 0x3000}, {0x3ff000, 0x600000, 0x1000, 0x1000, true}},
      {{0x200000, 0x1000, 0x3000, 0x3000}, {0x600000, 0x600000, 0x1000, 0x1000, true}},
  };
  for (const std::vector<TestSegment>& segments : kernels) {
    GuestMemory memory =
        *GuestMemory::Create(std::array{GuestMemory::Range{GuestAddress{0}, 32 * kMiB}});
    ASSERT_TRUE(LoadKernel(memory, kFloor, FileOf(TestElf(segments, 0x200000)).get()).ok());
    std::vector<uint8_t> behind(0x1000);
    ASSERT_TRUE(memory.Read(GuestAddress{0x205000}, behind).ok());
    EXPECT_THAT(behind, Each(0));
  }
}

TEST_F(LinuxLoaderTest, AMisalignedSegmentIsCopied) {
  const auto image = TestElf({{0x200001, 0x1000, 0x3000, 0x3000}}, 0x200001);
  ASSERT_TRUE(LoadKernel(memory_, kFloor, FileOf(image).get()).ok());
  EXPECT_EQ(Bytes(0x200001, 0x3000), std::vector<uint8_t>(image.begin() + 0x1000, image.end()));
}

TEST_F(LinuxLoaderTest, ElfOutsideMemory) {
  EXPECT_THAT(KernelError(TestElf({{0x1f00000, 0x1000, 0x10, 2 * kMiB}}, 0x1f00000)),
              HasSubstr("exceeds the guest's 32 MiB"));
  EXPECT_THAT(KernelError(TestElf({{0x80000, 0x1000, 0x10, 0x10}}, 0x80000)),
              HasSubstr("below 0x100000"));
  EXPECT_THAT(KernelError(TestElf({{uint64_t{1} << 40, 0x1000, 0x10, 0x10}}, uint64_t{1} << 40)),
              HasSubstr("exceeds"));
}

TEST_F(LinuxLoaderTest, BzImageIsCopiedToItsPlace) {
  const auto image = TestBzImage(8192);
  const auto kernel = LoadKernel(memory_, kFloor, FileOf(image).get());
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_EQ(kernel->entry, 0x1000200u);
  EXPECT_EQ(kernel->end, 0x1800000u);
  EXPECT_EQ(kernel->initramfs_limit, 0x80000000u);
  EXPECT_TRUE(kernel->header.has_value());
  EXPECT_THAT(Bytes(0x1000000, 8192), Each(0x90));
  EXPECT_THAT(Bytes(0x1000000 + 8192, 100), Each(0));
}

TEST_F(LinuxLoaderTest, BzImageThatNeedsMoreThanThereIs) {
  auto image = TestBzImage(4096);
  const uint32_t init_size = 0x2000000;
  std::memcpy(image.data() + 0x1f1 + offsetof(setup_header, init_size), &init_size,
              sizeof(init_size));
  EXPECT_THAT(KernelError(image), HasSubstr("exceeds"));
}

TEST_F(LinuxLoaderTest, OtherFiles) {
  EXPECT_THAT(KernelError(std::vector<uint8_t>(10000, '#')), HasSubstr("neither an ELF"));
  EXPECT_THAT(KernelError({}), HasSubstr("empty"));
  const UniqueFd directory = *UniqueFd::Open("/", O_RDONLY | O_DIRECTORY);
  EXPECT_THAT(std::string(LoadKernel(memory_, kFloor, directory.get()).status().message()),
              HasSubstr("not a regular file"));
}

TEST_F(LinuxLoaderTest, InitramfsEndsJustBelowTheLimit) {
  std::vector<uint8_t> content(5000, 0xab);
  const auto range = LoadInitramfs(memory_, kFloor, 32 * kMiB, FileOf(content).get());
  ASSERT_TRUE(range.ok()) << range.status();
  EXPECT_EQ(range->start, 32 * kMiB - 8192);
  EXPECT_EQ(range->size, 5000u);
  EXPECT_EQ(Bytes(range->start, 5000), content);
  EXPECT_THAT(Bytes(range->start + 5000, 8192 - 5000), Each(0));
}

TEST_F(LinuxLoaderTest, InitramfsThatDoesNotFit) {
  const std::vector<uint8_t> content(8193, 1);
  const UniqueFd file = FileOf(content);
  EXPECT_TRUE(LoadInitramfs(memory_, kFloor, kFloor + 3 * 4096, file.get()).ok());
  EXPECT_THAT(
      std::string(
          LoadInitramfs(memory_, kFloor + 1, kFloor + 3 * 4096, file.get()).status().message()),
      HasSubstr("do not fit"));
  EXPECT_FALSE(LoadInitramfs(memory_, kFloor, 4096, file.get()).ok());
  EXPECT_FALSE(LoadInitramfs(memory_, ~uint64_t{0}, 32 * kMiB, file.get()).ok());
  EXPECT_FALSE(LoadInitramfs(memory_, kFloor, 32 * kMiB, FileOf({}).get()).ok());
}

TEST_F(LinuxLoaderTest, CommandLine) {
  const GuestAddress address{0xc000};
  EXPECT_TRUE(WriteCommandLine(memory_, address, "quiet").ok());
  EXPECT_EQ(Bytes(0xc000, 6), (std::vector<uint8_t>{'q', 'u', 'i', 'e', 't', 0}));
  EXPECT_TRUE(WriteCommandLine(memory_, address, std::string(kMaxCommandLine - 1, 'x')).ok());
  EXPECT_FALSE(WriteCommandLine(memory_, address, std::string(kMaxCommandLine, 'x')).ok());
  EXPECT_FALSE(WriteCommandLine(memory_, address, absl::string_view("a\0b", 3)).ok());
}

TEST_F(LinuxLoaderTest, SetupDataIsALinkedList) {
  const std::vector<uint8_t> first(33, 1);
  const std::vector<uint8_t> second(5, 2);
  const SetupDataItem items[] = {{SETUP_DTB, first}, {SETUP_RNG_SEED, second}};
  ASSERT_TRUE(WriteSetupData(memory_, GuestAddress{0xd000}, 0xe000, items).ok());
  const auto head = *memory_.ReadObject<setup_data>(GuestAddress{0xd000});
  EXPECT_EQ(head.type, uint32_t{SETUP_DTB});
  EXPECT_EQ(head.len, 33u);
  EXPECT_EQ(head.next % 16, 0u);
  EXPECT_EQ(Bytes(0xd010, 33), first);
  const auto next = *memory_.ReadObject<setup_data>(GuestAddress{head.next});
  EXPECT_EQ(next.type, uint32_t{SETUP_RNG_SEED});
  EXPECT_EQ(next.next, 0u);
  EXPECT_EQ(Bytes(head.next + 16, 5), second);
  EXPECT_FALSE(WriteSetupData(memory_, GuestAddress{0xd000}, 0xd050, items).ok());
}

}  // namespace
}  // namespace hull::boot
