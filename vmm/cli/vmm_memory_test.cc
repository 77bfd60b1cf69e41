#include "vmm/cli/vmm_memory.h"

#include <unistd.h>

#include "gtest/gtest.h"

namespace hull::cli {
namespace {

constexpr char kSmaps[] =
    "1000-3000 rw-p 00000000 00:00 0 \nSize: 8 kB\nRss: 8 kB\nPss:   4 kB\nPss_Dirty: 1 kB\n"
    "10000-12000 r--p 00000000 08:01 5  /vmlinux\nPss:  3 kB\n"
    "12000-18000 rw-p 00000000 00:00 0 \nPss: 20 kB\nVmFlags: rd wr\n"
    "20000-21000 rw-p 00000000 00:00 0 [heap]\nPss: 4 kB\n";

TEST(VmmMemoryTest, TheGuestsMemoryIsTheRunOfItsLength) {
  const VmmMemory memory = SplitMappings(kSmaps, 0x8000);
  EXPECT_EQ(memory.guest_bytes, 23u * 1024);
  EXPECT_EQ(memory.own_bytes, 8u * 1024);
}

TEST(VmmMemoryTest, WithoutSuchARunAllIsTheProcesss) {
  for (const uint64_t length : {uint64_t{0x9000}, uint64_t{1} << 40}) {
    const VmmMemory memory = SplitMappings(kSmaps, length);
    EXPECT_EQ(memory.guest_bytes, 0u);
    EXPECT_EQ(memory.own_bytes, 31u * 1024);
  }
  EXPECT_EQ(SplitMappings("", 4096).own_bytes, 0u);
}

TEST(VmmMemoryTest, ARealProcess) {
  const absl::StatusOr<VmmMemory> memory = MeasureVmm(getpid(), uint64_t{1} << 46);
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_GT(memory->own_bytes, 0u);
  EXPECT_FALSE(MeasureVmm(0, 4096).ok());
}

}  // namespace
}  // namespace hull::cli
