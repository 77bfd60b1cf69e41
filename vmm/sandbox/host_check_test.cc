#include "vmm/sandbox/host_check.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::sandbox {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// A tree of files that stands for a host which keeps every promise; each test spoils one thing.
class HostCheckTest : public testing::Test {
 protected:
  HostCheckTest() {
    char name[] = "/tmp/host-XXXXXX";
    options_.root = mkdtemp(name);
    options_.features = {.core_scheduling = true, .landlock_version = 2};
    options_.guarded_directories = {"/var/lib/hull"};
    options_.private_directories = {"/var/lib/hull/images", "/var/lib/hull/containers"};
    Write("/sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n");
    Write("/sys/devices/system/cpu/vulnerabilities/mds",
          "Mitigation: Clear CPU buffers; SMT vulnerable\n");
    Write("/sys/devices/system/cpu/vulnerabilities/itlb_multihit",
          "KVM: Mitigation: VMX disabled\n");
    Write("/sys/devices/system/cpu/smt/active", "1\n");
    Write("/sys/kernel/mm/ksm/run", "0\n");
    Write("/proc/swaps", kSwapHeading);
    Write("/proc/sys/user/max_user_namespaces", "95000\n");
    Write("/proc/sys/kernel/seccomp/actions_avail",
          "kill_process kill_thread trap errno user_notif trace log allow\n");
    Write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma misc\n");
    Write("/sys/module/kvm_amd/parameters/nested", "0\n");
    std::filesystem::create_directories(Path("/var/lib/hull/images"));
    chmod(Path("/var/lib/hull").c_str(), 0755);
    chmod(Path("/var/lib/hull/images").c_str(), 0700);
  }
  ~HostCheckTest() override { std::filesystem::remove_all(options_.root); }

  std::string Path(const std::string& path) const { return options_.root + path; }
  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(Path(path)).parent_path());
    std::ofstream(Path(path)) << text;
  }
  HostFinding Finding(const std::string& topic) const {
    for (const HostFinding& finding : CheckHost(options_)) {
      if (finding.topic == topic) return finding;
    }
    ADD_FAILURE() << "nothing about " << topic;
    return {};
  }
  // Expects of the finding that it is bad or narrower, and says what is wrong and what to do.
  void ExpectFault(const std::string& topic, Verdict verdict, const std::string& found,
                   const std::string& advice) const {
    const HostFinding finding = Finding(topic);
    EXPECT_EQ(finding.verdict, verdict) << topic;
    EXPECT_THAT(finding.found, HasSubstr(found));
    EXPECT_THAT(finding.advice, HasSubstr(advice));
  }

  static constexpr char kSwapHeading[] = "Filename\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
  HostCheckOptions options_;
};

TEST_F(HostCheckTest, AGoodHostHasNoFaultAndNoAdvice) {
  for (const HostFinding& finding : CheckHost(options_)) {
    EXPECT_EQ(finding.verdict, Verdict::kGood) << finding.topic << ": " << finding.found;
    EXPECT_THAT(finding.found, Not(IsEmpty())) << finding.topic;
    EXPECT_THAT(finding.advice, IsEmpty()) << finding.topic;
  }
}

TEST_F(HostCheckTest, AFlawOfTheProcessorIsNamed) {
  Write("/sys/devices/system/cpu/vulnerabilities/retbleed", "Vulnerable\n");
  ExpectFault("processor flaws", Verdict::kBad, "retbleed (Vulnerable)", "mitigations=off");
  Write("/sys/devices/system/cpu/vulnerabilities/mds",
        "Vulnerable: Clear CPU buffers attempted, no microcode; SMT vulnerable\n");
  ExpectFault("processor flaws", Verdict::kBad, "mds (Vulnerable", "intel-microcode");
}

TEST_F(HostCheckTest, AKernelThatDoesNotTellItsMitigationsIsNotTrusted) {
  std::filesystem::remove_all(Path("/sys/devices/system/cpu/vulnerabilities"));
  ExpectFault("processor flaws", Verdict::kBad, "does not tell", "Linux");
}

TEST_F(HostCheckTest, SmtWithoutCoreScheduling) {
  options_.features.core_scheduling = false;
  ExpectFault("SMT", Verdict::kBad, "tenants share cores", "nosmt");
  Write("/sys/devices/system/cpu/smt/active", "0\n");
  EXPECT_EQ(Finding("SMT").verdict, Verdict::kGood);
}

TEST_F(HostCheckTest, Ksm) {
  Write("/sys/kernel/mm/ksm/run", "1\n");
  ExpectFault("KSM", Verdict::kBad, "on", "write 2");
}

TEST_F(HostCheckTest, SwapIsSafeOnlyEncryptedOrInMemory) {
  const std::string heading = kSwapHeading;
  Write("/proc/swaps", heading + "/dev/sda2   partition\t1000\t0\t-2\n");
  ExpectFault("swap", Verdict::kBad, "/dev/sda2", "dm-crypt");
  Write("/proc/swaps", heading + "/swap.img   file\t1000\t0\t-2\n");
  ExpectFault("swap", Verdict::kBad, "/swap.img", "swapoff");

  Write("/proc/swaps", heading + "/dev/dm-1 partition\t1000\t0\t-2\n");
  Write("/sys/class/block/dm-1/dm/uuid", "LVM-abcdef\n");
  EXPECT_EQ(Finding("swap").verdict, Verdict::kBad) << "a volume is not encryption";
  Write("/sys/class/block/dm-1/dm/uuid", "CRYPT-PLAIN-cryptswap\n");
  EXPECT_EQ(Finding("swap").verdict, Verdict::kGood);

  Write("/proc/swaps", heading + "/dev/zram0 partition\t1000\t0\t-2\n");
  EXPECT_EQ(Finding("swap").verdict, Verdict::kGood);
  Write("/sys/class/block/zram0/backing_dev", "/dev/sda3\n");
  EXPECT_EQ(Finding("swap").verdict, Verdict::kBad) << "it writes back to a disk";
}

TEST_F(HostCheckTest, StateThatOthersCanReadOrWrite) {
  chmod(Path("/var/lib/hull/images").c_str(), 0750);
  ExpectFault("state", Verdict::kBad, "/var/lib/hull/images can be read by others", "chmod");
  chmod(Path("/var/lib/hull/images").c_str(), 0700);
  chmod(Path("/var/lib/hull").c_str(), 0775);
  ExpectFault("state", Verdict::kBad, "/var/lib/hull can be written by others", "chmod");
}

TEST_F(HostCheckTest, WhatTheJailNeeds) {
  Write("/proc/sys/kernel/unprivileged_userns_clone", "0\n");
  ExpectFault("user namespaces", Verdict::kNarrower, "only root", "unprivileged_userns_clone");
  Write("/proc/sys/user/max_user_namespaces", "0\n");
  ExpectFault("user namespaces", Verdict::kBad, "no container can run", "max_user_namespaces");
  Write("/proc/sys/kernel/seccomp/actions_avail", "kill trap errno trace allow\n");
  ExpectFault("seccomp", Verdict::kBad, "too old", "4.14");
  options_.features.landlock_version = 0;
  ExpectFault("Landlock", Verdict::kNarrower, "none", "lsm=");
}

TEST_F(HostCheckTest, ControlGroups) {
  Write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu hugetlb pids\n");
  ExpectFault("control groups", Verdict::kNarrower, "without memory:", "cgroup_");
  std::filesystem::remove(Path("/sys/fs/cgroup/cgroup.controllers"));
  ExpectFault("control groups", Verdict::kNarrower, "not mounted", "cgroup2");
  Write("/sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n");
  Write("/proc/self/cgroup", "0::/user.slice/session-1.scope\n");
  options_.runs_as_root = false;
  ExpectFault("control groups", Verdict::kNarrower, "nothing is delegated", "systemd-run --user");
}

TEST_F(HostCheckTest, NestedVirtualisation) {
  Write("/sys/module/kvm_intel/parameters/nested", "Y\n");
  ExpectFault("nested KVM", Verdict::kNarrower, "kvm_intel", "nested=0");
}

TEST(KernelFeaturesTest, AreThoseOfThisKernel) {
  const KernelFeatures features = QueryKernelFeatures();
  EXPECT_GE(features.landlock_version, 0);
  EXPECT_LT(features.landlock_version, 100);
}

}  // namespace
}  // namespace hull::sandbox
