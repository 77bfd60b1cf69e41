#include "images/machine_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hull::images {
namespace {

using ::testing::HasSubstr;

TEST(MachineConfigTest, BootDevicesHaveNames) {
  for (const BootDevice boot : {BootDevice::kFloppy, BootDevice::kDisk, BootDevice::kCdrom}) {
    EXPECT_EQ(*ParseBootDevice(BootDeviceName(boot)), boot);
  }
  EXPECT_THAT(ParseBootDevice("tape\x1b").status().ToString(),
              HasSubstr(R"("tape\x1b" is no device to boot from)"));
}

TEST(MachineConfigTest, DisksOfEverySizeThatCanBe) {
  for (const uint64_t kib : {160, 180, 320, 360, 720, 1200, 1440, 2880}) {
    EXPECT_TRUE(CheckDiskSize(BootDevice::kFloppy, kib * 1024).ok()) << kib;
    EXPECT_TRUE(IsDisketteSize(kib * 1024)) << kib;
  }
  EXPECT_TRUE(CheckDiskSize(BootDevice::kDisk, 512).ok());
  EXPECT_TRUE(CheckDiskSize(BootDevice::kDisk, kMaxDiskBytes).ok());
  EXPECT_TRUE(CheckDiskSize(BootDevice::kCdrom, 2048 * 17).ok());
}

TEST(MachineConfigTest, DisksThatCannotBe) {
  const auto refused = [](BootDevice boot, uint64_t bytes) {
    const absl::Status status = CheckDiskSize(boot, bytes);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bytes;
    return std::string(status.message());
  };
  EXPECT_THAT(refused(BootDevice::kFloppy, 0), HasSubstr("empty"));
  EXPECT_THAT(refused(BootDevice::kDisk, 0), HasSubstr("empty"));
  EXPECT_THAT(refused(BootDevice::kFloppy, 1474561), HasSubstr("no diskette of 1474561 bytes"));
  EXPECT_THAT(refused(BootDevice::kFloppy, 512), HasSubstr("--boot disk"));
  EXPECT_THAT(refused(BootDevice::kDisk, 1000), HasSubstr("512-byte sectors"));
  EXPECT_THAT(refused(BootDevice::kCdrom, 512), HasSubstr("2048-byte sectors"));
  EXPECT_THAT(refused(BootDevice::kDisk, kMaxDiskBytes + 512), HasSubstr("2 TiB"));
}

}  // namespace
}  // namespace hull::images
