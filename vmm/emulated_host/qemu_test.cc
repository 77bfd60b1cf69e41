#include "vmm/emulated_host/qemu.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::emulated_host {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

QemuOptions SomeOptions() {
  QemuOptions options;
  options.kernel = "/share/vmlinux";
  options.initramfs = "/share/initramfs.cpio";
  options.data_disk = "/a,b/data.img";
  options.cpus = 3;
  options.memory_bytes = uint64_t{2} << 30;
  options.link_fd = 11;
  options.monitor_fd = 12;
  options.console_fd = 13;
  return options;
}

std::string After(const std::vector<std::string>& command, const std::string& option) {
  const auto it = std::find(command.begin(), command.end(), option);
  return it == command.end() || it + 1 == command.end() ? "" : *(it + 1);
}

TEST(QemuCommandTest, PassesTheOptionsOn) {
  const std::vector<std::string> command = QemuCommand(SomeOptions());
  EXPECT_EQ(command[0], "qemu-system-x86_64");
  EXPECT_EQ(After(command, "-smp"), "3");
  EXPECT_EQ(After(command, "-m"), "2048M");
  EXPECT_EQ(After(command, "-kernel"), "/share/vmlinux");
  EXPECT_THAT(After(command, "-cpu"), HasSubstr("+svm,+npt"));
  EXPECT_THAT(command, Contains(HasSubstr("id=link,fd=11")));
  EXPECT_THAT(command, Contains(HasSubstr("id=monitor,fd=12")));
  EXPECT_THAT(command, Contains(HasSubstr("id=console,fd=13")));
  EXPECT_THAT(command, Not(Contains("-icount")));
}

TEST(QemuCommandTest, ACommaInAPathIsNoOption) {
  EXPECT_THAT(QemuCommand(SomeOptions()), Contains(HasSubstr("file=/a,,b/data.img")));
}

TEST(QemuCommandTest, HasNoNetworkAndNoOtherDevices) {
  const std::vector<std::string> command = QemuCommand(SomeOptions());
  EXPECT_THAT(command, Contains("-nodefaults"));
  EXPECT_THAT(command, Not(Contains("-nic")));
  EXPECT_THAT(command, Not(Contains("-netdev")));
  EXPECT_THAT(After(command, "-sandbox"), HasSubstr("spawn=deny"));
}

TEST(QemuCommandTest, TheInstructionClockHasOneCpuAndOneThread) {
  QemuOptions options = SomeOptions();
  options.icount = true;
  const std::vector<std::string> command = QemuCommand(options);
  EXPECT_EQ(After(command, "-icount"), "shift=0,sleep=off");
  EXPECT_EQ(After(command, "-smp"), "1");
  EXPECT_THAT(After(command, "-accel"), Not(HasSubstr("multi")));
}

// As QEMU 7.2 writes them.
TEST(MonitorTest, TellsAFullDiskFromOtherEvents) {
  EXPECT_TRUE(IsNoSpaceEvent(
      R"({"timestamp": {"seconds": 1, "microseconds": 2}, "event": "BLOCK_IO_ERROR", "data": {"device": "data", "nospace": true, "node-name": "#block1", "reason": "No space left on device", "operation": "write", "action": "stop"}})"));
  EXPECT_FALSE(IsNoSpaceEvent(
      R"({"timestamp": {"seconds": 1, "microseconds": 2}, "event": "BLOCK_IO_ERROR", "data": {"device": "data", "nospace": false, "node-name": "#block1", "reason": "Input/output error", "operation": "write", "action": "report"}})"));
  EXPECT_FALSE(
      IsNoSpaceEvent(R"({"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"})"));
  EXPECT_FALSE(IsNoSpaceEvent(R"({"return": {}})"));
  EXPECT_FALSE(IsNoSpaceEvent(""));
}

}  // namespace
}  // namespace hull::emulated_host
