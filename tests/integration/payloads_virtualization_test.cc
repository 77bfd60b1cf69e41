// Debian's bootable payloads that a KVM without hardware virtualisation cannot run: their protected
// mode takes interrupts (it does not emulate IRET there) or uses the x87 (nor FWAIT). And a small
// program that does the former.

#include <signal.h>

#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/integration/pc_guest.h"
#include "tests/integration/vmm_process.h"
#include "vmm/arch/x86_64/cpuid.h"

namespace hull {
namespace {

constexpr absl::Duration kDeadline = absl::Seconds(300);

class PayloadsVirtualizationTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(x86_64::HostHasVirtualization())
        << "this KVM has no hardware virtualisation: run these tests in the emulated host "
           "(`./hull test kvm` does)";
  }
  static void Stop(PcGuest& guest) {
    kill(guest.vmm().pid(), SIGTERM);
    const VmmProcess::Result result = guest.vmm().Wait(kDeadline);
    EXPECT_EQ(result.status, 128 + SIGTERM) << result.err;
  }
};

TEST_F(PayloadsVirtualizationTest, SyslinuxBootsAFatDiskette) {
  PcGuest guest(absl::StrCat(R"(,"diskettes":[{"path":")",
                             DataFile("tests/integration/syslinux.img"),
                             R"(","read_only":true}])"));
  ASSERT_TRUE(guest.Await("SYSLINUX 6", kDeadline));
  ASSERT_TRUE(guest.Await("Started by syslinux", kDeadline));
  EXPECT_TRUE(guest.Await("boot:", kDeadline));
  guest.Type("nosuch\n");
  EXPECT_TRUE(guest.Await("nosuch", kDeadline));
  Stop(guest);
}

TEST_F(PayloadsVirtualizationTest, IpxeReachesItsShellFromACd) {
  PcGuest guest(R"(,"cdrom":{"path":"/usr/lib/ipxe/ipxe.iso"})");
  ASSERT_TRUE(guest.Await("iPXE initialising devices", kDeadline));
  // It waits for Ctrl-B for two seconds.
  const absl::Time deadline = absl::Now() + kDeadline;
  std::string screen;
  while (absl::Now() < deadline && !absl::StrContains(screen, "iPXE>")) {
    guest.Send({0x1d, 0x30, 0xb0, 0x9d});
    absl::SleepFor(absl::Milliseconds(300));
    screen = absl::StrJoin(guest.Screen(), "\n");
  }
  ASSERT_TRUE(absl::StrContains(screen, "iPXE>")) << screen;
  guest.Type("\nifstat\necho typed\n");
  EXPECT_TRUE(guest.Await("typed", kDeadline));
  Stop(guest);
}

TEST_F(PayloadsVirtualizationTest, MemtestTestsTheMemory) {
  PcGuest guest(R"(,"cdrom":{"path":"/usr/lib/memtest86+/memtest86+ia32.iso"})");
  ASSERT_TRUE(guest.Await("Memtest86+ v", kDeadline));
  EXPECT_TRUE(guest.Await("Testing:", kDeadline));
  // Of 32 MiB, it knows how much there is.
  EXPECT_TRUE(guest.Await("[Moving inversions", kDeadline));
  EXPECT_TRUE(guest.Await("Errors: 0", kDeadline));
  Stop(guest);
}

TEST_F(PayloadsVirtualizationTest, InterruptsInProtectedMode) {
  std::ostringstream program;
  program << std::ifstream(DataFile("tests/integration/pc_programs/protected.bin")).rdbuf();
  std::string content = program.str();
  ASSERT_EQ(content.size(), 4096u);
  content.resize(1440 * 1024);
  const TemporaryDirectory directory;
  std::ofstream(directory.Path("diskette")) << content;
  PcGuest guest(absl::StrCat(R"(,"diskettes":[{"path":")", directory.Path("diskette"), R"("}])"));
  EXPECT_TRUE(guest.Await("ten ticks in protected mode", kDeadline));
  Stop(guest);
}

}  // namespace
}  // namespace hull
