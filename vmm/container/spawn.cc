#include "vmm/container/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"

namespace hull::container {
namespace {

// The child's half. It shares this process's memory until it executes, so it makes system calls
// only, and touches nothing but what it is given.
[[noreturn]] void ExecuteInChild(const SpawnOptions& options, pid_t parent, const int* sources,
                                 char* const* argv, volatile int* error) {
  const int count = static_cast<int>(options.fds.size());
  // Handlers are the parent's code and ignored signals would stay ignored in the program.
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);

  bool good = !options.new_session || setsid() >= 0;
  if (good && options.parent_death_signal != 0) {
    // The parent may have died before the request was made; then nobody sends that signal.
    good = prctl(PR_SET_PDEATHSIG, options.parent_death_signal) == 0;
    if (getppid() != parent) _exit(127);
  }
  // The sources lie above every target, so no copy overwrites a source.
  for (int i = 0; good && i < count; ++i) good = dup2(sources[i], i) == i;
  good = good && close_range(static_cast<unsigned>(count), ~0U, 0) == 0;
  good = good && chdir("/") == 0 && sigprocmask(SIG_SETMASK, &none, nullptr) == 0;
  if (good) {
    char* const no_environment[] = {nullptr};
    execve(options.program.c_str(), argv, no_environment);
  }
  *error = errno;
  _exit(127);
}

}  // namespace

absl::StatusOr<pid_t> Spawn(const SpawnOptions& options) {
  const int count = static_cast<int>(options.fds.size());
  std::vector<UniqueFd> copies;
  std::vector<int> sources;
  UniqueFd null;
  for (int fd : options.fds) {
    if (fd < 0) {
      if (!null.valid()) {
        HULL_ASSIGN_OR_RETURN(null, UniqueFd::Open("/dev/null", O_RDWR));
      }
      fd = null.get();
    }
    if (fd < count) {
      copies.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, count));
      fd = copies.back().get();
      if (fd < 0) return PosixError("duplicate a file descriptor");
    }
    sources.push_back(fd);
  }
  std::vector<char*> argv;
  for (const std::string& arg : options.argv) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);

  // Written by the child, behind the compiler's back.
  volatile int error = 0;
  const pid_t parent = getpid();
  // vfork(2), as copying the page tables only to execute at once is most of the cost of fork(2).
  const pid_t pid = vfork();
  if (pid == 0) ExecuteInChild(options, parent, sources.data(), argv.data(), &error);
  if (pid < 0) return PosixError("create a process");
  // Seen here only when the child has executed or has ended.
  if (error != 0) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return PosixError(error, absl::StrCat("execute \"", options.program, "\""));
  }
  return pid;
}

}  // namespace hull::container
