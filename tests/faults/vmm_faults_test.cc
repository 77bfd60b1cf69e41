// Every call by which hull-vmm gets something from the host is made to fail, one a run, from its
// start to the end of a machine with one device of each kind. Each run ends soon, in success or
// with a documented status and one line that says why, and leaves nothing.

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/integration/vmm_process.h"

namespace hull {
namespace {

// Far more than there are calls: a run that never gets to its end is a fault of the test.
constexpr int kMaxCalls = 5000;
constexpr absl::Duration kTimeout = absl::Seconds(120);

// vmm/README.md: specification, host, internal.
const std::set<int> kDocumentedFailures = {64, 65, 69};

class VmmFaultsTest : public testing::Test {
 protected:
  VmmFaultsTest() {
    std::ofstream(directory_.Path("disk")) << std::string(1 << 20, 'd');
    std::ofstream(directory_.Path("machine.json"))
        << R"({"version":1,"machine":"micro","memory_bytes":33554432,"vcpus":2,"kernel":{"path":")"
        << DataFile("tests/integration/guests/power_off.elf")
        << R"("},"console":{"fd":1},"block":[{"id":"d","path":")" << directory_.Path("disk")
        << R"("}],"rng":{},"vsock":{"guest_cid":3,"host_socket":")" << directory_.Path("vsock")
        << "\"}}";
  }
  VmmProcess::Result Run(int failing_call) {
    setenv("HULL_FAIL_AT", absl::StrCat(failing_call).c_str(), 1);
    VmmProcess vmm({"--spec", directory_.Path("machine.json")}, "tests/faults/faulty_vmm");
    return vmm.Wait(kTimeout);
  }
  std::set<std::string> Files() {
    std::set<std::string> names;
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(directory_.Path("").c_str()),
                                                        closedir);
    while (const dirent* entry = readdir(directory.get())) names.insert(entry->d_name);
    return names;
  }

  TemporaryDirectory directory_;
};

// Whether all that a run left behind ends by itself: a VMM that outlived its supervisor becomes a
// child of this process, the subreaper, and dies of its parent's end a little later.
bool NoProcessStays() {
  const absl::Time end = absl::Now() + absl::Seconds(20);
  while (true) {
    const pid_t ended = waitpid(-1, nullptr, WNOHANG);
    if (ended < 0) return true;
    if (ended > 0) continue;
    if (absl::Now() > end) return false;
    absl::SleepFor(absl::Milliseconds(5));
  }
}

TEST_F(VmmFaultsTest, EachEndsWithAStatusAndALine) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  ASSERT_EQ(Run(0).status, 0) << "without a fault it works";
  const std::set<std::string> files = Files();
  std::map<std::string, int> harmless;
  int failures = 0;
  int call = 1;
  for (; call <= kMaxCalls; ++call) {
    const VmmProcess::Result result = Run(call);
    ASSERT_FALSE(result.timed_out) << result.err;
    std::vector<std::string> lines = absl::StrSplit(result.err, '\n', absl::SkipEmpty());
    if (lines.empty() || !absl::StartsWith(lines[0], "fault: ")) {
      EXPECT_EQ(result.status, 0) << result.err;
      break;
    }
    const std::string fault = lines[0];
    lines.erase(lines.begin());
    if (result.status == 0) {
      const std::vector<std::string> words = absl::StrSplit(fault, ' ');
      ++harmless[words[2]];
    } else {
      ++failures;
      // Abseil's mutexes have memory of their own, without which they say so and abort.
      const bool abseil = absl::StrContains(result.err, "low_level_alloc.cc");
      EXPECT_TRUE(abseil || kDocumentedFailures.contains(result.status))
          << fault << ": status " << result.status << "\n"
          << absl::StrJoin(lines, "\n");
      EXPECT_TRUE(abseil || (!lines.empty() && absl::StartsWith(lines.back(), "hull-vmm: ")))
          << fault << ": no message but: " << absl::StrJoin(lines, "\n");
    }
    ASSERT_TRUE(NoProcessStays()) << fault << " leaves a process";
    // A file that cannot be removed stays; the next start replaces it.
    if (!absl::StrContains(fault, " unlink(")) {
      EXPECT_EQ(Files(), files) << fault << " leaves files";
    }
    unlink(directory_.Path("vsock").c_str());  // For the next run.
  }
  EXPECT_LE(call, kMaxCalls) << "the end was not reached";
  EXPECT_GT(failures, 100) << "faults were not injected";
  std::string survived;
  for (const auto& [what, count] : harmless) absl::StrAppend(&survived, what, " ", count, "  ");
  RecordProperty("harmless", survived);
  printf("%d calls, %d end the VMM, others do not matter: %s\n", call - 1, failures,
         survived.c_str());
}

}  // namespace
}  // namespace hull
