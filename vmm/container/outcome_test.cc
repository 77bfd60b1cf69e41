#include "vmm/container/outcome.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::container {
namespace {

using testing::HasSubstr;

// As the kernel encodes them: W_EXITCODE(3).
constexpr int Exited(int status) { return status << 8; }
constexpr int Killed(int signal) { return signal; }

TEST(OutcomeTest, NoEndOfAMachineIsAStatusOfTheContainers) {
  const struct {
    int wait_status;
    const char* says;
  } kCases[] = {
      {Exited(0), "powered off from inside"},
      {Exited(64), "could not be set up"},
      {Exited(65), "on this host"},
      {Exited(66), "rebooted"},
      {Exited(67), "panic"},
      {Exited(68), "triple fault"},
      {Exited(69), "KVM cannot run"},
      {Exited(7), "status 7"},
      {Killed(9), "killed by signal 9"},
      {Killed(31), "killed by signal 31"},
  };
  for (const auto& end : kCases) {
    const Outcome outcome = MachineFailure("web", end.wait_status, "");
    EXPECT_EQ(outcome.exit_status, 125);
    EXPECT_THAT(outcome.error, HasSubstr("the microVM of container web"));
    EXPECT_THAT(outcome.error, HasSubstr(end.says));
  }
}

TEST(OutcomeTest, TellsTheLastLineOfTheVmmsErrors) {
  EXPECT_THAT(
      MachineFailure("web", Exited(65), "warning: x\nhull-vmm: open \"/dev/kvm\": gone\n").error,
      testing::EndsWith("on this host: open \"/dev/kvm\": gone"));
  EXPECT_THAT(MachineFailure("web", Exited(65), "\x1b[2Jclear").error,
              testing::EndsWith("\\x1b[2Jclear"));
}

TEST(OutcomeTest, PrintableIsHarmlessAndBounded) {
  EXPECT_EQ(Printable("it's \"plain\""), "it's \"plain\"");
  EXPECT_EQ(Printable("a\nb\\\x7f\xc3"), "a\\x0ab\\x5c\\x7f\\xc3");
  EXPECT_LE(Printable(std::string(100000, '\n')).size(), 4000u);
}

}  // namespace
}  // namespace hull::container
