// Whether the host keeps its part of the threat model (THREAT_MODEL.md): what the jail cannot do
// for itself, because it is the host's owner's to decide.

#ifndef VMM_SANDBOX_HOST_CHECK_H_
#define VMM_SANDBOX_HOST_CHECK_H_

#include <string>
#include <vector>

namespace hull::sandbox {

enum class Verdict {
  kGood,
  kNarrower,  // Hull works and is jailed, with one layer less.
  kBad,       // A promise of the threat model does not hold on this host.
};

struct HostFinding {
  std::string topic;  // "SMT"
  Verdict verdict = Verdict::kGood;
  std::string found = {};   // "on, and the kernel has no core scheduling"
  std::string advice = {};  // What the host's owner can do; empty if kGood.
};

// What only a system call tells.
struct KernelFeatures {
  bool core_scheduling = false;
  int landlock_version = 0;  // 0: none.
};

KernelFeatures QueryKernelFeatures();

struct HostCheckOptions {
  // What stands for "/", without a slash at its end: tests have their own. Symbolic links are not
  // looked through it.
  std::string root = "";
  KernelFeatures features;
  // Whose containers it is about.
  bool runs_as_root = true;
  // Absolute, looked for in `root`. Directories that others may enter but not write to, and those
  // which are nobody else's business. One that does not exist is not reported.
  std::vector<std::string> guarded_directories;
  std::vector<std::string> private_directories;
};

// One finding a topic, in the order of their weight. A file that is not there or cannot be read is
// reported as what its absence means; nothing fails.
std::vector<HostFinding> CheckHost(const HostCheckOptions& options);

}  // namespace hull::sandbox

#endif  // VMM_SANDBOX_HOST_CHECK_H_
