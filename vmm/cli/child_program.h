// Another program, run to its end as a part of a verb.

#ifndef VMM_CLI_CHILD_PROGRAM_H_
#define VMM_CLI_CHILD_PROGRAM_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"

namespace hull::cli {

struct ChildProgram {
  // What becomes of what the program writes.
  enum class Output {
    kInherit,
    kToStandardError,  // standard output only: progress that must not mix with what is printed
    kCapture,          // the first mebibyte; the rest is read and dropped
    kDrop,
  };

  std::vector<std::string> argv;  // argv[0] is looked up in PATH if it has no slash
  bool input = false;             // reads our standard input; else it is empty
  Output out = Output::kInherit;
  Output err = Output::kInherit;
};

struct ChildResult {
  int wait_status = 0;
  std::string out;  // where captured
  std::string err;

  bool ok() const { return wait_status == 0; }
};

// Runs it with our environment, no blocked signals and every signal at its default. It is killed
// when this process ends, however that happens. kNotFound if there is no such program.
// When `cancel_fd` becomes readable the program gets SIGTERM, and its end is waited for.
absl::StatusOr<ChildResult> RunChild(const ChildProgram& program, int cancel_fd);

// The signals that ask for an end (SIGINT, SIGTERM, SIGHUP, SIGQUIT), blocked while this exists so
// that what was half made can be taken away.
class EndingSignals {
 public:
  static absl::StatusOr<EndingSignals> Create();
  EndingSignals(EndingSignals&&) = default;

  // Becomes readable when there is one.
  int fd() const { return fd_.get(); }
  // 128 + the number of the signal, if there was one.
  std::optional<int> ExitStatus() const;

 private:
  explicit EndingSignals(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace hull::cli

#endif  // VMM_CLI_CHILD_PROGRAM_H_
