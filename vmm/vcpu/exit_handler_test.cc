#include "vmm/vcpu/exit_handler.h"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/bus/bus.h"
#include "vmm/bus/bus_device.h"

namespace hull {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// Remembers writes; reads count up.
class Recorder : public BusDevice {
 public:
  absl::string_view name() const override { return "recorder"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override {
    for (uint8_t& byte : data) byte = static_cast<uint8_t>(++reads_ + offset * 16);
  }
  void Write(uint64_t offset, std::span<const uint8_t> data) override {
    writes.emplace_back(offset, std::vector<uint8_t>(data.begin(), data.end()));
  }

  std::vector<std::pair<uint64_t, std::vector<uint8_t>>> writes;

 private:
  int reads_ = 0;
};

class HandleExitTest : public testing::Test {
 protected:
  HandleExitTest() {
    EXPECT_TRUE(ports_.Insert(0x100, 8, port_device_).ok());
    EXPECT_TRUE(mmio_.Insert(0xd0000000, 0x1000, mmio_device_).ok());
  }
  std::optional<Ending> Handle(const kvm::VcpuExit& exit) {
    return HandleExit(exit, ports_, mmio_);
  }

  std::shared_ptr<Recorder> port_device_ = std::make_shared<Recorder>();
  std::shared_ptr<Recorder> mmio_device_ = std::make_shared<Recorder>();
  Bus ports_;
  Bus mmio_;
};

TEST_F(HandleExitTest, AStringInstructionIsSeveralAccesses) {
  std::array<uint8_t, 4> data = {1, 2, 3, 4};
  EXPECT_FALSE(
      Handle(kvm::PortExit{.is_write = true, .port = 0x102, .size = 2, .data = data}).has_value());
  EXPECT_THAT(port_device_->writes,
              ElementsAre(Pair(2, ElementsAre(1, 2)), Pair(2, ElementsAre(3, 4))));
  EXPECT_FALSE(
      Handle(kvm::PortExit{.is_write = false, .port = 0x101, .size = 1, .data = data}).has_value());
  EXPECT_THAT(data, ElementsAre(17, 18, 19, 20));
  EXPECT_TRUE(mmio_device_->writes.empty());
}

TEST_F(HandleExitTest, AReadOfNothingFloats) {
  std::array<uint8_t, 2> data = {};
  EXPECT_FALSE(
      Handle(kvm::PortExit{.is_write = false, .port = 0x80, .size = 2, .data = data}).has_value());
  EXPECT_THAT(data, ElementsAre(0xff, 0xff));
}

TEST_F(HandleExitTest, MemoryAccessesGoToTheirOwnBus) {
  std::array<uint8_t, 4> data = {9, 8, 7, 6};
  EXPECT_FALSE(
      Handle(kvm::MmioExit{.is_write = true, .address = 0xd0000050, .data = data}).has_value());
  EXPECT_THAT(mmio_device_->writes, ElementsAre(Pair(0x50, ElementsAre(9, 8, 7, 6))));
  EXPECT_FALSE(
      Handle(kvm::MmioExit{.is_write = false, .address = 0xd0000000, .data = data}).has_value());
  EXPECT_THAT(data, ElementsAre(1, 2, 3, 4));
  EXPECT_FALSE(
      Handle(kvm::MmioExit{.is_write = false, .address = 0x100, .data = data}).has_value());
  EXPECT_THAT(data, ElementsAre(0xff, 0xff, 0xff, 0xff));
}

TEST_F(HandleExitTest, Endings) {
  EXPECT_FALSE(Handle(kvm::InterruptedExit{}).has_value());
  EXPECT_EQ(Handle(kvm::ShutdownExit{})->kind, Ending::Kind::kTripleFault);
  EXPECT_EQ(Handle(kvm::SystemEventExit{KVM_SYSTEM_EVENT_SHUTDOWN})->kind, Ending::Kind::kPowerOff);
  EXPECT_EQ(Handle(kvm::SystemEventExit{KVM_SYSTEM_EVENT_RESET})->kind, Ending::Kind::kReboot);
  EXPECT_EQ(Handle(kvm::SystemEventExit{KVM_SYSTEM_EVENT_CRASH})->kind, Ending::Kind::kPanic);
  EXPECT_EQ(Handle(kvm::SystemEventExit{999})->kind, Ending::Kind::kInternalError);
  const std::optional<Ending> internal = Handle(kvm::InternalErrorExit{"why"});
  EXPECT_EQ(internal->kind, Ending::Kind::kInternalError);
  EXPECT_EQ(internal->detail, "why");
}

}  // namespace
}  // namespace hull
