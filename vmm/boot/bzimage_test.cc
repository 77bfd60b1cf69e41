#include "vmm/boot/bzimage.h"

#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/boot/test_images.h"

namespace hull::boot {
namespace {

using ::testing::HasSubstr;

// A good image with its header changed.
template <typename F>
std::vector<uint8_t> With(F change) {
  std::vector<uint8_t> file = TestBzImage(4096);
  setup_header header;
  std::memcpy(&header, file.data() + kSetupHeaderOffset, sizeof(header));
  change(header);
  std::memcpy(file.data() + kSetupHeaderOffset, &header, sizeof(header));
  return file;
}

template <typename F>
std::string ErrorWith(F change) {
  const std::vector<uint8_t> file = With(change);
  const auto image = ParseBzImage(file, file.size());
  EXPECT_TRUE(absl::IsInvalidArgument(image.status())) << image.status();
  return std::string(image.status().message());
}

TEST(ParseBzImageTest, Good) {
  const std::vector<uint8_t> file = TestBzImage(4096);
  EXPECT_TRUE(LooksLikeBzImage(file));
  const auto image = ParseBzImage(std::span(file).first(kBzImageHeaderSize), file.size());
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->kernel_offset, 1024u);
  EXPECT_EQ(image->kernel_size, 4096u);
  EXPECT_EQ(image->load_address, 0x1000000u);
  EXPECT_EQ(image->entry, 0x1000200u);
  EXPECT_EQ(image->init_size, 0x800000u);
  EXPECT_EQ(image->header.initrd_addr_max, 0x7fffffffu);
}

TEST(ParseBzImageTest, FieldsBehindTheHeadersEndAreZero) {
  // The jump says that the header ends before pref_address: whatever is there is not the header.
  const auto image = ParseBzImage(With([](setup_header& h) { h.jump = 0x40eb; }), 1024 + 4096);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->load_address, 0u);
}

TEST(ParseBzImageTest, AMisalignedPreferenceIsRoundedUp) {
  const auto image =
      ParseBzImage(With([](setup_header& h) { h.pref_address = 0x1000001; }), 1024 + 4096);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->load_address, 0x1200000u);
}

TEST(ParseBzImageTest, Refusals) {
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.header = 0; }), HasSubstr("no setup header"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.boot_flag = 0; }), HasSubstr("boot flag"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.version = 0x020b; }), HasSubstr("protocol 2.11"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.xloadflags = 0; }), HasSubstr("64-bit entry"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.loadflags = 0; }), HasSubstr("zImage"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.syssize = 0x101; }), HasSubstr("truncated"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.setup_sects = 9; }),
              HasSubstr("before the kernel proper"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.kernel_alignment = 3; }), HasSubstr("alignment"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.kernel_alignment = 0; }), HasSubstr("alignment"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.pref_address = ~uint64_t{0}; }),
              HasSubstr("end of memory"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.pref_address = ~uint64_t{0} & ~0x1fffffull; }),
              HasSubstr("wraps"));
  EXPECT_THAT(ErrorWith([](setup_header& h) {
                h.syssize = 0;
                h.setup_sects = 8;
              }),
              HasSubstr("too short"));
}

TEST(ParseBzImageTest, EveryTruncationIsAnError) {
  const std::vector<uint8_t> good = TestBzImage(4096);
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(ParseBzImage(std::span(good).first(size), size).ok()) << size;
  }
}

}  // namespace
}  // namespace hull::boot
