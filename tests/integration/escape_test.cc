// A VMM that is already compromised, in the real jail (escaping_vmm.cc), and the real one under a
// limit of the host.

#include <fstream>
#include <regex>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/vmm_process.h"

namespace hull {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::Duration kTimeout = absl::Seconds(120);
constexpr int kLeastAttempts = 60;

class EscapeTest : public testing::Test {
 protected:
  std::string Spec() {
    const std::string path = directory_.Path("machine.json");
    std::ofstream(directory_.Path("disk")) << std::string(1 << 20, 'd');
    std::ofstream(path) << absl::StrCat(
        R"({"version":1,"machine":"micro","memory_bytes":33554432,"vcpus":2,"kernel":{"path":")",
        DataFile("tests/integration/guests/power_off.elf"), R"("},"block":[{"id":"d","path":")",
        directory_.Path("disk"), R"("}],"rng":{},"vsock":{"guest_cid":3,"host_socket":")",
        directory_.Path("vsock"), "\"}}");
    return path;
  }
  TemporaryDirectory directory_;
};

TEST_F(EscapeTest, NoThreadOfACompromisedVmmGetsOut) {
  VmmProcess vmm({"--spec", Spec()}, "tests/integration/escaping_vmm");
  const VmmProcess::Result result = vmm.Wait(kTimeout);
  ASSERT_FALSE(result.timed_out) << result.err;
  // It goes on to run its guest, so what it tried did not just break it.
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, Not(HasSubstr("ESCAPED"))) << result.err;
  for (const char* kind : {"vcpu", "event_loop", "block_worker"}) {
    std::smatch match;
    const std::regex summary(
        absl::StrCat("escape-proof ", kind, ": ([0-9]+) attempts, ([0-9]+) escaped\n"));
    ASSERT_TRUE(std::regex_search(result.err, match, summary)) << kind << "\n" << result.err;
    EXPECT_GE(std::stoi(match[1]), kLeastAttempts);
    EXPECT_EQ(match[2], "0");
  }
}

}  // namespace
}  // namespace hull
