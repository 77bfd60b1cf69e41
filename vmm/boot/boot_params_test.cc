#include "vmm/boot/boot_params.h"

#include "gtest/gtest.h"

namespace hull::boot {
namespace {

TEST(BuildBootParamsTest, WhatTheKernelReads) {
  const auto params = BuildBootParams({.ram = {{0, 0xa0000}, {0x100000, 0x7f00000}},
                                       .command_line_address = 0xc000,
                                       .setup_data_address = 0xd000,
                                       .initramfs = {0x7000000, 1234},
                                       .header = {}});
  ASSERT_TRUE(params.ok()) << params.status();
  EXPECT_EQ(params->hdr.boot_flag, 0xaa55);
  EXPECT_EQ(params->hdr.header, 0x53726448u);
  EXPECT_EQ(params->hdr.type_of_loader, 0xff);
  EXPECT_EQ(params->hdr.cmd_line_ptr, 0xc000u);
  EXPECT_EQ(params->hdr.setup_data, 0xd000u);
  EXPECT_EQ(params->hdr.ramdisk_image, 0x7000000u);
  EXPECT_EQ(params->hdr.ramdisk_size, 1234u);
  EXPECT_EQ(params->sentinel, 0);
  ASSERT_EQ(params->e820_entries, 2);
  EXPECT_EQ(params->e820_table[1].addr, 0x100000u);
  EXPECT_EQ(params->e820_table[1].size, 0x7f00000u);
  EXPECT_EQ(params->e820_table[1].type, 1u);
}

TEST(BuildBootParamsTest, ABzImagesHeaderIsKept) {
  setup_header header = {};
  header.kernel_alignment = 0x200000;
  header.init_size = 77;
  const auto params = BuildBootParams({.ram = {}, .header = header});
  ASSERT_TRUE(params.ok()) << params.status();
  EXPECT_EQ(params->hdr.kernel_alignment, 0x200000u);
  EXPECT_EQ(params->hdr.init_size, 77u);
}

TEST(BuildBootParamsTest, Limits) {
  EXPECT_FALSE(BuildBootParams({.ram = std::vector<MemoryRange>(129)}).ok());
  EXPECT_TRUE(BuildBootParams({.ram = std::vector<MemoryRange>(128)}).ok());
  EXPECT_FALSE(BuildBootParams({.ram = {}, .command_line_address = uint64_t{1} << 32}).ok());
  EXPECT_FALSE(BuildBootParams({.ram = {}, .initramfs = {0xffffffff, 2}}).ok());
}

}  // namespace
}  // namespace hull::boot
