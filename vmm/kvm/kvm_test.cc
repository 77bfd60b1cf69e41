#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/base/unique_fd.h"
#include "vmm/kvm/abi.h"
#include "vmm/kvm/flexible_array.h"
#include "vmm/kvm/system.h"
#include "vmm/kvm/vcpu_exit.h"

namespace hull::kvm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(SystemTest, AnAbsentDeviceSaysHowToGetOne) {
  const absl::Status status = System::Open("/nonexistent/kvm").status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("this host has no KVM"));
}

TEST(SystemTest, ADeviceThatIsNotKvmIsRefused) {
  const absl::Status status = System::Open("/dev/null").status();
  EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"/dev/null\": not a KVM device"));
}

TEST(FlexibleArrayTest, TheArrayFollowsTheHeaderWithoutAGap) {
  FlexibleArray<kvm_cpuid2, kvm_cpuid_entry2> table(3);
  EXPECT_EQ(static_cast<void*>(table.entries().data()),
            static_cast<void*>(table.header()->entries));
  EXPECT_EQ(table.entries().size(), 3u);
  EXPECT_EQ(table.entries()[2].function, 0u);
}

class DecodeExitTest : public testing::Test {
 protected:
  VcpuExit Decode() { return DecodeExit(&page_.run, sizeof(page_)); }

  union {
    kvm_run run;
    uint8_t bytes[8192];
  } page_ = {};
};

TEST_F(DecodeExitTest, PortAccess) {
  page_.run.exit_reason = KVM_EXIT_IO;
  page_.run.io.direction = KVM_EXIT_IO_OUT;
  page_.run.io.port = 0x3f8;
  page_.run.io.size = 2;
  page_.run.io.count = 3;
  page_.run.io.data_offset = 4096;
  page_.bytes[4096 + 5] = 7;
  const VcpuExit exit = Decode();
  const PortExit* port = std::get_if<PortExit>(&exit);
  ASSERT_NE(port, nullptr);
  EXPECT_TRUE(port->is_write);
  EXPECT_EQ(port->port, 0x3f8);
  EXPECT_EQ(port->size, 2);
  EXPECT_THAT(port->data, ElementsAre(0, 0, 0, 0, 0, 7));
}

TEST_F(DecodeExitTest, PortAccessBeyondTheRunPage) {
  page_.run.exit_reason = KVM_EXIT_IO;
  page_.run.io.size = 4;
  page_.run.io.count = 1;
  page_.run.io.data_offset = sizeof(page_) - 3;
  EXPECT_TRUE(std::holds_alternative<InternalErrorExit>(Decode()));
  page_.run.io.data_offset = 4096;
  page_.run.io.count = 0xffffffff;
  EXPECT_TRUE(std::holds_alternative<InternalErrorExit>(Decode()));
  page_.run.io.count = 0;
  EXPECT_TRUE(std::holds_alternative<InternalErrorExit>(Decode()));
  page_.run.io.count = 1;
  page_.run.io.size = 3;
  EXPECT_TRUE(std::holds_alternative<InternalErrorExit>(Decode()));
}

TEST_F(DecodeExitTest, MmioAccess) {
  page_.run.exit_reason = KVM_EXIT_MMIO;
  page_.run.mmio.phys_addr = 0xd0000070;
  page_.run.mmio.len = 4;
  page_.run.mmio.is_write = 0;
  VcpuExit exit = Decode();
  const MmioExit* mmio = std::get_if<MmioExit>(&exit);
  ASSERT_NE(mmio, nullptr);
  EXPECT_FALSE(mmio->is_write);
  EXPECT_EQ(mmio->address, 0xd0000070u);
  // What a read fills in is where KVM takes it from.
  mmio->data[3] = 9;
  EXPECT_EQ(page_.run.mmio.data[3], 9);

  page_.run.mmio.len = 9;
  EXPECT_TRUE(std::holds_alternative<InternalErrorExit>(Decode()));
}

TEST_F(DecodeExitTest, Endings) {
  page_.run.exit_reason = KVM_EXIT_INTR;
  EXPECT_TRUE(std::holds_alternative<InterruptedExit>(Decode()));
  page_.run.exit_reason = KVM_EXIT_SHUTDOWN;
  EXPECT_TRUE(std::holds_alternative<ShutdownExit>(Decode()));
  page_.run.exit_reason = KVM_EXIT_SYSTEM_EVENT;
  page_.run.system_event.type = KVM_SYSTEM_EVENT_RESET;
  EXPECT_EQ(std::get<SystemEventExit>(Decode()).type, uint32_t{KVM_SYSTEM_EVENT_RESET});
  page_.run.exit_reason = KVM_EXIT_FAIL_ENTRY;
  page_.run.fail_entry.hardware_entry_failure_reason = 0x80000021;
  EXPECT_THAT(std::get<InternalErrorExit>(Decode()).detail, HasSubstr("0x80000021"));
  page_.run.exit_reason = 12345;
  EXPECT_THAT(std::get<InternalErrorExit>(Decode()).detail, HasSubstr("12345"));
}

TEST_F(DecodeExitTest, AnInstructionThatCannotBeEmulatedIsShown) {
  page_.run.exit_reason = KVM_EXIT_INTERNAL_ERROR;
  page_.run.emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
  page_.run.emulation_failure.ndata = 3;
  page_.run.emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
  page_.run.emulation_failure.insn_size = 200;  // More than there is room for.
  page_.run.emulation_failure.insn_bytes[0] = 0x0f;
  EXPECT_THAT(std::get<InternalErrorExit>(Decode()).detail, HasSubstr("cannot emulate: 0f00"));
}

}  // namespace
}  // namespace hull::kvm
