// hull-vmm as a child process, running a tiny guest.

#ifndef TESTS_INTEGRATION_VMM_PROCESS_H_
#define TESTS_INTEGRATION_VMM_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "vmm/base/unique_fd.h"

namespace hull {

// A data file of the tests, by its path from the repository's root: in Bazel's runfiles, or next to
// the test's binary when that runs by itself.
std::string DataFile(const std::string& path);

// A new directory that goes away with its owner.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();
  std::string Path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Standard output and standard error go to pipes that nobody has to read: up to 1 MiB each is kept.
class VmmProcess {
 public:
  explicit VmmProcess(const std::vector<std::string>& arguments,
                      const std::string& program = "vmm/cli/hull-vmm");
  VmmProcess(const VmmProcess&) = delete;
  VmmProcess& operator=(const VmmProcess&) = delete;
  ~VmmProcess();  // Kills it if it still runs.

  pid_t pid() const { return pid_; }

  struct Result {
    bool timed_out = false;
    int status = -1;  // Exit status, or 128 + the signal that it died of.
    std::string out;
    std::string err;
  };
  Result Wait(absl::Duration timeout);
  // Whether anything arrived on standard output within `timeout`.
  bool AwaitOutput(absl::Duration timeout);

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd out_;
  UniqueFd err_;
};

}  // namespace hull

#endif  // TESTS_INTEGRATION_VMM_PROCESS_H_
