#include "vmm/sandbox/host_check.h"

#include <dirent.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "vmm/base/file_io.h"
#include "vmm/sandbox/cgroup.h"

namespace hull::sandbox {
namespace {

// Files of the kernel that are read here have a line or a few.
constexpr size_t kFileLimit = 64 << 10;

class Host {
 public:
  explicit Host(const HostCheckOptions& options) : options_(options) {}

  std::string Path(absl::string_view path) const { return absl::StrCat(options_.root, path); }
  // Without white space at its ends; nothing if it cannot be read.
  std::optional<std::string> Read(absl::string_view path) const {
    absl::StatusOr<std::string> text = ReadFile(Path(path), kFileLimit);
    if (!text.ok()) return std::nullopt;
    return std::string(absl::StripAsciiWhitespace(*text));
  }
  bool Exists(absl::string_view path) const { return access(Path(path).c_str(), F_OK) == 0; }
  std::vector<std::string> List(absl::string_view path) const {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(Path(path).c_str()), closedir);
    if (directory == nullptr) return names;
    while (const dirent* entry = readdir(directory.get())) {
      if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  const HostCheckOptions& options_;
};

HostFinding Mitigations(const Host& host) {
  constexpr char kDirectory[] = "/sys/devices/system/cpu/vulnerabilities";
  HostFinding finding = {.topic = "processor flaws"};
  std::vector<std::string> open;
  bool microcode = false;
  const std::vector<std::string> names = host.List(kDirectory);
  for (const std::string& name : names) {
    const std::string state =
        host.Read(absl::StrCat(kDirectory, "/", name)).value_or("not readable");
    if (absl::StartsWith(state, "Not affected") || absl::StartsWith(state, "Mitigation")) continue;
    // "KVM: Mitigation: ..." is itlb_multihit's way to say it.
    if (absl::StartsWith(state, "KVM: Mitigation")) continue;
    open.push_back(absl::StrCat(name, " (", state, ")"));
    microcode |=
        absl::StrContains(absl::AsciiStrToLower(state), "microcode") || name == "old_microcode";
  }
  if (names.empty()) {
    finding.verdict = Verdict::kBad;
    finding.found = "the kernel does not tell";
    finding.advice = "run a kernel of Linux 5.x or later with /sys mounted";
  } else if (open.empty()) {
    finding.found =
        absl::StrCat("all ", names.size(), " that the kernel knows are mitigated or absent");
  } else {
    finding.verdict = Verdict::kBad;
    finding.found = absl::StrCat("not mitigated: ", absl::StrJoin(open, ", "));
    finding.advice =
        microcode ? "install amd64-microcode or intel-microcode, update the kernel and reboot"
                  : "update the kernel, and boot without mitigations=off";
  }
  return finding;
}

HostFinding Smt(const Host& host, const KernelFeatures& features) {
  HostFinding finding = {.topic = "SMT"};
  if (host.Read("/sys/devices/system/cpu/smt/active") != "1") {
    finding.found = "off";
  } else if (features.core_scheduling) {
    finding.found = "on; each VM has a core of its own while it runs (core scheduling)";
  } else {
    finding.verdict = Verdict::kBad;
    finding.found = "on, and the kernel has no core scheduling: tenants share cores";
    finding.advice =
        "boot with nosmt, or write \"off\" to /sys/devices/system/cpu/smt/control, or run a kernel "
        "with CONFIG_SCHED_CORE";
  }
  return finding;
}

HostFinding Ksm(const Host& host) {
  HostFinding finding = {.topic = "KSM"};
  if (host.Read("/sys/kernel/mm/ksm/run").value_or("0") != "1") {
    finding.found = "off";
  } else {
    // Hull marks no memory for it; whoever else does on this host shares pages that can be timed.
    finding.verdict = Verdict::kBad;
    finding.found = "on: pages of equal content are shared, and the timing of writes tells";
    finding.advice = "write 2 to /sys/kernel/mm/ksm/run, and stop what turns it on (ksmtuned)";
  }
  return finding;
}

// Whether what is written to this swap area is unreadable without a key, or never leaves memory.
bool IsSafeSwap(const Host& host, absl::string_view area) {
  const absl::string_view name = area.substr(area.rfind('/') + 1);
  const std::string block = absl::StrCat("/sys/class/block/", name);
  if (absl::StartsWith(name, "zram")) {
    return host.Read(absl::StrCat(block, "/backing_dev")).value_or("none") == "none";
  }
  return absl::StartsWith(host.Read(absl::StrCat(block, "/dm/uuid")).value_or(""), "CRYPT-");
}

HostFinding Swap(const Host& host) {
  HostFinding finding = {.topic = "swap"};
  std::vector<std::string> unsafe;
  int areas = 0;
  const std::string table = host.Read("/proc/swaps").value_or("");
  for (const absl::string_view line : absl::StrSplit(table, '\n')) {
    if (!absl::StartsWith(line, "/")) continue;  // The heading.
    const std::string area(line.substr(0, line.find_first_of(" \t")));
    ++areas;
    if (!IsSafeSwap(host, area)) unsafe.push_back(area);
  }
  if (areas == 0) {
    finding.found = "none";
  } else if (unsafe.empty()) {
    finding.found = "encrypted";
  } else {
    finding.verdict = Verdict::kBad;
    finding.found = absl::StrCat("not encrypted: ", absl::StrJoin(unsafe, ", "),
                                 "; guest memory can get there");
    finding.advice = "swapoff, or put it on dm-crypt with a random key (crypttab: swap option)";
  }
  return finding;
}

HostFinding StateDirectories(const Host& host, const HostCheckOptions& options) {
  HostFinding finding = {.topic = "state"};
  std::vector<std::string> wrong;
  const auto check = [&](const std::string& directory, mode_t forbidden, absl::string_view what) {
    struct stat info;
    if (stat(host.Path(directory).c_str(), &info) != 0) return;
    if (info.st_uid != 0 && info.st_uid != geteuid()) {
      wrong.push_back(absl::StrCat(directory, " belongs to user ", info.st_uid));
    } else if ((info.st_mode & forbidden) != 0) {
      wrong.push_back(absl::StrCat(directory, " can be ", what, " by others"));
    }
  };
  for (const std::string& directory : options.guarded_directories) check(directory, 022, "written");
  for (const std::string& directory : options.private_directories) check(directory, 077, "read");
  if (wrong.empty()) {
    finding.found = "nobody else can read images and containers, or write where they are";
  } else {
    finding.verdict = Verdict::kBad;
    finding.found = absl::StrJoin(wrong, ", ");
    finding.advice =
        "chown them to who runs hull, and chmod go-rwx (or go-w for the directory above)";
  }
  return finding;
}

HostFinding UserNamespaces(const Host& host) {
  HostFinding finding = {.topic = "user namespaces"};
  // Absent: the kernel has none at all, or, of the second, no such switch.
  const std::string most = host.Read("/proc/sys/user/max_user_namespaces").value_or("0");
  const std::string unprivileged =
      host.Read("/proc/sys/kernel/unprivileged_userns_clone").value_or("1");
  if (most == "0") {
    finding.verdict = Verdict::kBad;
    finding.found = "none: no container can run";
    finding.advice = "write a number to /proc/sys/user/max_user_namespaces (CONFIG_USER_NS)";
  } else if (unprivileged == "0") {
    finding.verdict = Verdict::kNarrower;
    finding.found = "for root only: only root can run containers";
    finding.advice = "write 1 to /proc/sys/kernel/unprivileged_userns_clone";
  } else {
    finding.found = "present";
  }
  return finding;
}

HostFinding Seccomp(const Host& host) {
  HostFinding finding = {.topic = "seccomp"};
  const std::string actions =
      absl::StrCat(" ", host.Read("/proc/sys/kernel/seccomp/actions_avail").value_or(""), " ");
  if (absl::StrContains(actions, " trap ") && absl::StrContains(actions, " kill_process ")) {
    finding.found = "present";
  } else {
    finding.verdict = Verdict::kBad;
    finding.found = "none, or too old: no container can run";
    finding.advice = "run a kernel of Linux 4.14 or later with CONFIG_SECCOMP_FILTER";
  }
  return finding;
}

HostFinding Landlock(const KernelFeatures& features) {
  HostFinding finding = {.topic = "Landlock"};
  if (features.landlock_version > 0) {
    finding.found = absl::StrCat("version ", features.landlock_version);
  } else {
    finding.verdict = Verdict::kNarrower;
    finding.found =
        "none: the empty root and the lists of system calls alone keep the VMM from files";
    finding.advice = "run a kernel of Linux 5.13 or later with landlock in its lsm= list";
  }
  return finding;
}

// Whether the VMMs of this user's containers get limits of the kernel's (cgroup.h).
HostFinding Cgroups(const HostCheckOptions& options) {
  HostFinding finding = {.topic = "control groups"};
  const absl::StatusOr<std::string> base =
      FindCgroupBase({.mount = absl::StrCat(options.root, "/sys/fs/cgroup"),
                      .own = absl::StrCat(options.root, "/proc/self/cgroup"),
                      .root = options.runs_as_root});
  if (base.ok()) {
    finding.found = "version 2: each VMM has limits of memory, threads and processor time";
    return finding;
  }
  finding.verdict = Verdict::kNarrower;
  finding.found = absl::StrCat(base.status().message(),
                               ": VMMs have their own limits alone, and no container "
                               "less of the processors than it asks for");
  finding.advice =
      options.runs_as_root
          ? "boot with systemd.unified_cgroup_hierarchy=1, without cgroup_disable= options, or "
            "mount cgroup2 at /sys/fs/cgroup"
          : "run hull as root, or in a scope of systemd that is delegated to this user "
            "(systemd-run "
            "--user --scope -p Delegate=yes)";
  return finding;
}

HostFinding Nested(const Host& host) {
  HostFinding finding = {.topic = "nested KVM"};
  for (const char* module : {"kvm_intel", "kvm_amd"}) {
    const std::string value =
        host.Read(absl::StrCat("/sys/module/", module, "/parameters/nested")).value_or("N");
    if (value != "1" && value != "Y") continue;
    finding.verdict = Verdict::kNarrower;
    finding.found = absl::StrCat(
        "on in ", module, "; Hull shows it to no guest, but other VMs of this host can use it");
    finding.advice = absl::StrCat("load the module with nested=0 (options ", module,
                                  " nested=0 in /etc/modprobe.d) if nobody needs it");
    return finding;
  }
  finding.found = "off";
  return finding;
}

}  // namespace

KernelFeatures QueryKernelFeatures() {
  KernelFeatures features;
  // Its own cookie of the calling thread: succeeds, with any value, where the kernel has cookies.
  constexpr int kThread = 0;  // PR_SCHED_CORE_SCOPE_THREAD
  uint64_t cookie = 0;
  features.core_scheduling = prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, kThread,
                                   reinterpret_cast<unsigned long>(&cookie)) == 0;
  const long version =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  features.landlock_version = static_cast<int>(std::max(version, 0L));
  return features;
}

std::vector<HostFinding> CheckHost(const HostCheckOptions& options) {
  const Host host(options);
  return {Mitigations(host), Smt(host, options.features),     Ksm(host),
          Swap(host),        StateDirectories(host, options), UserNamespaces(host),
          Seccomp(host),     Landlock(options.features),      Cgroups(options),
          Nested(host)};
}

}  // namespace hull::sandbox
