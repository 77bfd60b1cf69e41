// The whole of hull-vmm with hand-assembled guests (guests/*.asm): what ends a machine, and what
// must not.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/vmm_process.h"
#include "vmm/machine/pause_protocol.h"

namespace hull {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Where KVM has no hardware virtualisation it executes the slowest guest here in a few seconds, and
// an emulated host is slower still.
constexpr absl::Duration kTimeout = absl::Seconds(120);

class GuestsTest : public testing::Test {
 protected:
  // The path of a specification for `guest`; `more` is appended to it: `,"rng":{}`.
  std::string Spec(const std::string& guest, const std::string& more = "", int vcpus = 1) {
    const std::string path = directory_.Path("machine.json");
    std::ofstream(path) << absl::StrCat(
        R"({"version":1,"machine":"micro","memory_bytes":33554432,"vcpus":)", vcpus,
        R"(,"kernel":{"path":")",
        DataFile(absl::StrCat("tests/integration/guests/", guest, ".elf")), "\"}", more, "}");
    return path;
  }
  VmmProcess::Result Run(const std::string& guest, const std::string& more = "", int vcpus = 1) {
    VmmProcess vmm({"--spec", Spec(guest, more, vcpus)});
    VmmProcess::Result result = vmm.Wait(kTimeout);
    EXPECT_FALSE(result.timed_out) << result.err;
    return result;
  }
  VmmProcess::Result RunFirmware(const std::string& file) {
    const std::string path = directory_.Path("machine.json");
    std::ofstream(path) << absl::StrCat(
        R"({"version":1,"machine":"micro","memory_bytes":33554432,"vcpus":1,"firmware":{"path":")",
        file, "\"}}");
    VmmProcess vmm({"--spec", path});
    VmmProcess::Result result = vmm.Wait(kTimeout);
    EXPECT_FALSE(result.timed_out) << result.err;
    return result;
  }
  // One device of each kind.
  std::string AllDevices() {
    std::ofstream(directory_.Path("disk")) << std::string(1 << 20, 'd');
    return absl::StrCat(R"(,"block":[{"id":"d","path":")", directory_.Path("disk"),
                        R"("}],"rng":{},"vsock":{"guest_cid":3,"host_socket":")",
                        directory_.Path("vsock"), "\"}");
  }

  TemporaryDirectory directory_;
};

TEST_F(GuestsTest, PowerOffIsSilentSuccess) {
  const auto result = Run("power_off");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, IsEmpty());
  EXPECT_THAT(result.out, IsEmpty());
}

TEST_F(GuestsTest, OtherEndingsHaveTheirOwnStatusAndLine) {
  const struct {
    const char* guest;
    int status;
    const char* line;
  } cases[] = {
      {"reboot", 66, "hull-vmm: the guest rebooted\n"},
      {"keyboard_reset", 66, "hull-vmm: the guest rebooted\n"},
      {"panic", 67, "hull-vmm: the guest's kernel panicked\n"},
      {"triple_fault", 68, "hull-vmm: triple fault in the guest\n"},
  };
  for (const auto& c : cases) {
    const auto result = Run(c.guest);
    EXPECT_EQ(result.status, c.status) << c.guest;
    EXPECT_EQ(result.err, c.line) << c.guest;
  }
}

TEST_F(GuestsTest, FirmwareStartsInRealMode) {
  for (const char* guest : {"firmware_exit", "firmware"}) {
    const auto result =
        RunFirmware(DataFile(absl::StrCat("tests/integration/guests/", guest, ".elf")));
    EXPECT_EQ(result.status, 0) << guest << ": " << result.err;
    EXPECT_THAT(result.err, IsEmpty()) << guest;
  }
}

TEST_F(GuestsTest, FirmwareOfAWrongSizeIsRefused) {
  const std::string path = directory_.Path("firmware");
  for (const size_t size : {0, 1000, (256 << 10) + 4096}) {
    std::ofstream(path) << std::string(size, '\xf4');
    const auto result = RunFirmware(path);
    EXPECT_EQ(result.status, 64) << size;
    EXPECT_THAT(result.err, HasSubstr("not a file of whole pages")) << size;
  }
}

TEST_F(GuestsTest, UndefinedPortsAndAddressesDoNothing) {
  EXPECT_EQ(Run("unknown_exits").status, 0);
}

TEST_F(GuestsTest, SerialOutputReachesTheConsole) {
  const auto result = Run("serial", R"(,"console":{"fd":1})");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "hello from the guest\n");
}

TEST_F(GuestsTest, ConsoleInAFile) {
  const std::string path = directory_.Path("log");
  EXPECT_EQ(Run("serial", absl::StrCat(R"(,"console":{"path":")", path, "\"}")).status, 0);
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, "hello from the guest");
}

TEST_F(GuestsTest, WithoutAConsoleThereIsNoPort) {
  // The transmitter of a port that is not there reads as ready: nothing is printed, nothing hangs.
  const auto result = Run("serial");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, IsEmpty());
}

TEST_F(GuestsTest, AFloodOfOutputArrivesWhole) {
  const auto result = Run("serial_flood", R"(,"console":{"fd":1})");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out.size(), 200000u);
}

TEST_F(GuestsTest, SecondCpuStartsAndEndsTheMachine) {
  EXPECT_EQ(Run("two_cpus", "", 2).status, 0);
}

TEST_F(GuestsTest, SignalsStopASpinningGuestAtOnce) {
  for (const int number : {SIGTERM, SIGINT}) {
    VmmProcess vmm(
        {"--spec", Spec("spin", absl::StrCat(R"(,"console":{"fd":1})", AllDevices()), 2)});
    ASSERT_TRUE(vmm.AwaitOutput(kTimeout));
    ASSERT_EQ(kill(vmm.pid(), number), 0);
    const auto result = vmm.Wait(absl::Seconds(20));
    EXPECT_FALSE(result.timed_out);
    EXPECT_EQ(result.status, 128 + number);
    EXPECT_EQ(result.err, absl::StrCat("hull-vmm: stopped by signal ", number, "\n"));
    EXPECT_NE(access(directory_.Path("vsock").c_str(), F_OK), 0) << "the socket is left behind";
  }
}

// The process and what it started, by /proc.
std::vector<pid_t> Family(pid_t pid) {
  std::vector<pid_t> family = {pid};
  for (size_t i = 0; i < family.size(); ++i) {
    std::ifstream children(absl::StrCat("/proc/", family[i], "/task/", family[i], "/children"));
    for (pid_t child; children >> child;) family.push_back(child);
  }
  return family;
}

// The time that the vCPUs of a VMM have run, in nanoseconds, by /proc.
uint64_t VcpuTime(pid_t vmm) {
  uint64_t total = 0;
  for (const pid_t pid : Family(vmm)) {
    const std::string tasks = absl::StrCat("/proc/", pid, "/task");
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      std::string name;
      std::ifstream(task.path() / "comm") >> name;
      uint64_t time = 0;
      if (absl::StartsWith(name, "vcpu")) std::ifstream(task.path() / "schedstat") >> time;
      total += time;
    }
  }
  return total;
}

TEST_F(GuestsTest, APausedMachineRunsNothingUntilItGoesOn) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
  const UniqueFd monitor(ends[0]);
  UniqueFd machine(ends[1]);
  ASSERT_EQ(fcntl(monitor.get(), F_SETFD, FD_CLOEXEC), 0);
  VmmProcess vmm({"--spec", Spec("spin",
                                 absl::StrCat(R"(,"console":{"fd":1},"pause":{"fd":)",
                                              machine.get(), "}", AllDevices()),
                                 2)});
  machine.Reset();
  ASSERT_TRUE(vmm.AwaitOutput(kTimeout));
  const auto ask = [&monitor](char request) {
    if (send(monitor.get(), &request, 1, MSG_NOSIGNAL) != 1) return '!';
    pollfd readable = {monitor.get(), POLLIN, 0};
    if (poll(&readable, 1, static_cast<int>(absl::ToInt64Milliseconds(kTimeout))) != 1) return '?';
    char answer = 0;
    return recv(monitor.get(), &answer, 1, 0) == 1 ? answer : '0';
  };
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(ask(machine::kPause), machine::kPause);
    // Twice is as well.
    ASSERT_EQ(ask(machine::kPause), machine::kPause);
    // A thread that has answered may still be on its way to sleep.
    uint64_t before = 0;
    for (uint64_t now = VcpuTime(vmm.pid()); now != before; now = VcpuTime(vmm.pid())) {
      before = now;
      usleep(50000);
    }
    EXPECT_GT(before, 0u);
    usleep(200000);
    EXPECT_EQ(VcpuTime(vmm.pid()), before);
    ASSERT_EQ(ask(machine::kResume), machine::kResume);
    while (VcpuTime(vmm.pid()) == before) usleep(1000);
  }
  // A signal ends a machine that is paused as any other.
  ASSERT_EQ(ask(machine::kPause), machine::kPause);
  ASSERT_EQ(kill(vmm.pid(), SIGTERM), 0);
  EXPECT_EQ(vmm.Wait(kTimeout).status, 128 + SIGTERM);
}

TEST_F(GuestsTest, NoMappingIsWritableAndExecutable) {
  VmmProcess vmm({"--spec", Spec("spin", absl::StrCat(R"(,"console":{"fd":1})", AllDevices()), 2)});
  ASSERT_TRUE(vmm.AwaitOutput(kTimeout));
  for (const pid_t pid : Family(vmm.pid())) {
    std::ifstream maps(absl::StrCat("/proc/", pid, "/maps"));
    int executable = 0;
    for (std::string line; std::getline(maps, line);) {
      std::istringstream fields(line);
      std::string range, permissions, offset, device, inode, file;
      fields >> range >> permissions >> offset >> device >> inode >> file;
      EXPECT_FALSE(permissions[1] == 'w' && permissions[2] == 'x') << line;
      if (permissions[2] != 'x') continue;
      ++executable;
      // Code is the program's own and the kernel's, never what was mapped while it ran.
      EXPECT_TRUE(absl::EndsWith(file, "/hull-vmm") || file == "[vdso]" || file == "[vsyscall]")
          << line;
    }
    EXPECT_GT(executable, 0) << "the mappings of " << pid << " could not be read";
  }
}

TEST_F(GuestsTest, GarbageInEveryRegister) {
  const auto result = Run("hostile_registers", AllDevices());
  EXPECT_EQ(result.status, 0) << result.err;
}

TEST_F(GuestsTest, GarbageInEveryQueue) {
  const auto result = Run("hostile_queues", AllDevices());
  EXPECT_EQ(result.status, 0) << result.err;
  // A guest cannot fill the host's log.
  EXPECT_LT(result.err.size(), 64u << 10);
  struct stat disk;
  ASSERT_EQ(stat(directory_.Path("disk").c_str(), &disk), 0);
  EXPECT_EQ(disk.st_size, 1 << 20);
}

TEST_F(GuestsTest, OneMachineAfterTheOtherLeavesNothing) {
  for (int i = 0; i < 5; ++i) ASSERT_EQ(Run("power_off", AllDevices()).status, 0);
  EXPECT_NE(access(directory_.Path("vsock").c_str(), F_OK), 0);
}

TEST_F(GuestsTest, SpecificationErrorsNameFileAndField) {
  const std::string spec = Spec("power_off", R"(,"colour":1)");
  VmmProcess vmm({"--spec", spec});
  const auto result = vmm.Wait(kTimeout);
  EXPECT_EQ(result.status, 64);
  EXPECT_EQ(result.err, absl::StrCat("hull-vmm: ", spec, ": colour: unknown field\n"));
}

TEST_F(GuestsTest, MoreMemoryThanTheHostHas) {
  const auto path = directory_.Path("m");
  std::ofstream(path) << R"({"version":1,"machine":"micro","memory_bytes":10995116277760,)"
                      << R"("vcpus":1,"kernel":{"path":"/dev/null"}})";
  VmmProcess vmm({"--spec", path});
  const auto result = vmm.Wait(kTimeout);
  EXPECT_EQ(result.status, 64);
  EXPECT_THAT(result.err, HasSubstr("memory_bytes: 10995116277760 is more than this host's"));
}

TEST_F(GuestsTest, CommandLine) {
  const struct {
    std::vector<std::string> arguments;
    int status;
    const char* text;
  } cases[] = {
      {{"--help"}, 0, "--spec FILE"},
      {{"--version"}, 0, "hull-vmm "},
      {{}, 64, "--spec FILE"},
      {{"--spec", "a", "--spec_fd", "3"}, 64, "--spec FILE"},
      {{"--spec", "/nonexistent"}, 64, "/nonexistent"},
      {{"--spec_fd", "99"}, 64, "descriptor 99"},
      {{"--colour"}, 64, "colour"},
      {{"--spec", "a", "more"}, 64, "\"more\""},
  };
  for (const auto& c : cases) {
    VmmProcess vmm(c.arguments);
    const auto result = vmm.Wait(kTimeout);
    EXPECT_EQ(result.status, c.status) << result.err;
    EXPECT_THAT(c.status == 0 ? result.out : result.err, HasSubstr(c.text));
  }
}

}  // namespace
}  // namespace hull
