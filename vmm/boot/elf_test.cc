#include "vmm/boot/elf.h"

#include <elf.h>

#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/boot/test_images.h"

namespace hull::boot {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<ElfKernel> Parse(const std::vector<uint8_t>& file) {
  return ParseElf(file.size(), ReaderOf(file));
}

std::string ErrorOf(const std::vector<uint8_t>& file) {
  const absl::StatusOr<ElfKernel> kernel = Parse(file);
  EXPECT_TRUE(absl::IsInvalidArgument(kernel.status())) << kernel.status();
  return std::string(kernel.status().message());
}

std::vector<uint8_t> Good() {
  return TestElf({{0x400000, 0x2000, 0x1000, 0x3000}, {0x200000, 0x1000, 0x800, 0x800}}, 0x200010);
}

TEST(ParseElfTest, SegmentsComeSorted) {
  const absl::StatusOr<ElfKernel> kernel = Parse(Good());
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_EQ(kernel->entry, 0x200010u);
  ASSERT_EQ(kernel->segments.size(), 2u);
  EXPECT_EQ(kernel->segments[0].physical_address, 0x200000u);
  EXPECT_EQ(kernel->segments[0].file_offset, 0x1000u);
  EXPECT_EQ(kernel->segments[1].file_size, 0x1000u);
  EXPECT_EQ(kernel->segments[1].physical_end(), 0x403000u);
}

TEST(ParseElfTest, SegmentsThatOnlyTouchAreFine) {
  EXPECT_TRUE(
      Parse(TestElf({{0x200000, 0x1000, 0x1000, 0x1000}, {0x201000, 0x2000, 0x10, 0x10}}, 0x200000))
          .ok());
}

TEST(ParseElfTest, EmptySegmentsAreIgnored) {
  const auto kernel =
      Parse(TestElf({{0x200000, 0x1000, 0x10, 0x10}, {0x200000, 0, 0, 0}}, 0x200000));
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_EQ(kernel->segments.size(), 1u);
}

TEST(ParseElfTest, Refusals) {
  using Segments = std::vector<TestSegment>;
  const struct {
    const char* error;
    Segments segments;
    uint64_t entry;
  } cases[] = {
      {"two segments overlap at 0x201000",
       {{0x200000, 0x1000, 0x10, 0x1001}, {0x201000, 0x2000, 0x10, 0x10}},
       0x200000},
      {"wraps", {{0xfffffffffffff000, 0x1000, 0x10, 0x2000}}, 0xfffffffffffff000},
      {"wraps", {{0x200000, 0x1000, 0x10, ~uint64_t{0}}}, 0x200000},
      {"more bytes in the file than in memory", {{0x200000, 0x1000, 0x11, 0x10}}, 0x200000},
      {"entry point 0x1ff000 is in no segment", {{0x200000, 0x1000, 0x10, 0x10}}, 0x1ff000},
      {"entry point 0x200020 is in no segment", {{0x200000, 0x1000, 0x10, 0x1000}}, 0x200020},
      {"nothing to load", {{0x200000, 0, 0, 0}}, 0x200000},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(ErrorOf(TestElf(c.segments, c.entry)), HasSubstr(c.error));
  }
}

TEST(ParseElfTest, EveryTruncationIsAnError) {
  const std::vector<uint8_t> good = Good();
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(Parse({good.begin(), good.begin() + static_cast<long>(size)}).ok()) << size;
  }
}

TEST(ParseElfTest, HeaderFields) {
  const auto with = [](auto change) {
    std::vector<uint8_t> file = Good();
    Elf64_Ehdr header;
    std::memcpy(&header, file.data(), sizeof(header));
    change(header);
    std::memcpy(file.data(), &header, sizeof(header));
    return ErrorOf(file);
  };
  EXPECT_THAT(with([](Elf64_Ehdr& h) { h.e_ident[0] = 0; }), HasSubstr("no ELF magic"));
  EXPECT_THAT(with([](Elf64_Ehdr& h) { h.e_ident[EI_CLASS] = ELFCLASS32; }), HasSubstr("64-bit"));
  EXPECT_THAT(with([](Elf64_Ehdr& h) { h.e_ident[EI_DATA] = ELFDATA2MSB; }), HasSubstr("little"));
  EXPECT_THAT(with([](Elf64_Ehdr& h) { h.e_machine = EM_AARCH64; }), HasSubstr("machine 183"));
  EXPECT_THAT(with([](Elf64_Ehdr& h) { h.e_type = ET_REL; }), HasSubstr("not an executable"));
  EXPECT_THAT(with([](Elf64_Ehdr& h) { h.e_phentsize = 32; }), HasSubstr("32 bytes"));
  EXPECT_THAT(with([](Elf64_Ehdr& h) { h.e_phnum = 0; }), HasSubstr("0 program headers"));
  EXPECT_THAT(with([](Elf64_Ehdr& h) { h.e_phnum = 65; }), HasSubstr("65 program headers"));
  EXPECT_THAT(with([](Elf64_Ehdr& h) { h.e_phoff = ~uint64_t{0}; }), HasSubstr("beyond the end"));
}

}  // namespace
}  // namespace hull::boot
