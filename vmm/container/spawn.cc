#include "vmm/container/spawn.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/base/unique_fd.h"
#include "vmm/sandbox/namespaces.h"

namespace hull::container {
namespace {

// What the child needs, and where it says why it failed.
struct Child {
  const SpawnOptions& options;
  const std::optional<sandbox::Birth>& birth;
  pid_t parent;
  int program;  // -1: by its path
  const int* sources;
  char* const* argv;
  // Written by the child, behind the compiler's back. Without a step it was the program that could
  // not be executed.
  volatile int error = 0;
  const char* volatile step = nullptr;
};

// clone3(2) of a child that shares this process's memory and stack, as vfork(2)'s does, but with
// flags: calls `entry(argument)` in the child, and returns in the parent when the child has
// executed or ended. In assembly, as the child must return over no frame that the parent still
// needs.
extern "C" long HullCloneAndWait(const clone_args* arguments, size_t size, void (*entry)(void*),
                                 void* argument);
asm(R"(
  .text
  .type HullCloneAndWait, @function
HullCloneAndWait:
  endbr64
  movq %rdx, %r8
  movq %rcx, %r9
  movl $435, %eax
  syscall
  testq %rax, %rax
  jz 1f
  ret
1:
  xorl %ebp, %ebp
  movq %r9, %rdi
  andq $-16, %rsp
  call *%r8
  hlt
  .size HullCloneAndWait, . - HullCloneAndWait
)");

// The child's half. It shares this process's memory until it executes, so it makes system calls
// only, and touches nothing but what it is given.
[[noreturn]] void ExecuteInChild(Child& child) {
  const SpawnOptions& options = child.options;
  const int count = static_cast<int>(options.fds.size());
  // Handlers are the parent's code and ignored signals would stay ignored in the program.
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);

  bool good = !options.new_session || setsid() >= 0;
  // The sources lie above every target, so no copy overwrites a source.
  for (int i = 0; good && i < count; ++i) good = dup2(child.sources[i], i) == i;
  auto end = static_cast<unsigned>(count);
  if (child.program >= 0) {
    const auto program = static_cast<unsigned>(child.program);
    good = good && (program == end || close_range(end, program - 1, 0) == 0);
    end = program + 1;
  }
  good = good && close_range(end, ~0U, 0) == 0;
  if (good && child.birth.has_value()) {
    sandbox::FailedStep failed = {.what = "map the user into its user namespace",
                                  .error = child.birth->Begin()};
    if (failed.error == 0) failed = sandbox::LeaveHost(options.user);
    if (failed.error == 0) failed = sandbox::KeepCapabilities();
    if (failed.error != 0) {
      child.error = failed.error;
      child.step = failed.what;
      _exit(127);
    }
  }
  // Only now: the kernel forgets the request when the user changes.
  if (good && options.parent_death_signal != 0) {
    // The parent may have died before the request was made; then nobody sends that signal. (Out of
    // a PID namespace the parent cannot be seen: there the program itself looks.)
    good = prctl(PR_SET_PDEATHSIG, options.parent_death_signal) == 0;
    if (!child.birth.has_value() && getppid() != child.parent) _exit(127);
  }
  good = good && chdir("/") == 0 && sigprocmask(SIG_SETMASK, &none, nullptr) == 0;
  if (good) {
    char* const no_environment[] = {nullptr};
    if (child.program < 0) {
      execve(options.program.c_str(), child.argv, no_environment);
    } else {
      execveat(child.program, "", child.argv, no_environment, AT_EMPTY_PATH);
    }
  }
  child.error = errno;
  _exit(127);
}

}  // namespace

absl::StatusOr<pid_t> Spawn(const SpawnOptions& options) {
  const int count = static_cast<int>(options.fds.size());
  // Of one that leaves the host: its user need not be able to reach the file by its path.
  UniqueFd program;
  if (options.leave_host) {
    const UniqueFd file(open(options.program.c_str(), O_PATH | O_CLOEXEC));
    if (!file) return PosixError(absl::StrCat("execute \"", options.program, "\""));
    program.Reset(fcntl(file.get(), F_DUPFD_CLOEXEC, count));
    if (!program) return PosixError("duplicate a file descriptor");
  }
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

  std::optional<sandbox::Birth> birth;
  if (options.leave_host) birth.emplace();
  Child child = {.options = options,
                 .birth = birth,
                 .parent = getpid(),
                 .program = program.get(),
                 .sources = sources.data(),
                 .argv = argv.data()};
  // As vfork(2): copying the page tables only to execute at once is most of the cost of fork(2).
  clone_args arguments = {};
  arguments.flags = CLONE_VM | CLONE_VFORK | (birth.has_value() ? birth->clone_flags() : 0);
  arguments.exit_signal = SIGCHLD;
  if (options.cgroup >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<unsigned>(options.cgroup);
  }
  const int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
  const long result = HullCloneAndWait(
      &arguments, sizeof(arguments),
      [](void* child_of_parent) { ExecuteInChild(*static_cast<Child*>(child_of_parent)); }, &child);
  // A child that changes its user takes this from the memory that it shares with its parent.
  prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0);
  const auto pid = static_cast<pid_t>(result);
  if (result < 0) {
    const int clone_error = static_cast<int>(-result);
    return birth.has_value() ? sandbox::BirthError(clone_error)
                             : PosixError(clone_error, "create a process");
  }
  const int error = child.error;
  // Seen here only when the child has executed or has ended.
  if (error != 0) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    if (child.step != nullptr) return sandbox::StepError({.what = child.step, .error = error});
    return PosixError(error, absl::StrCat("execute \"", options.program, "\""));
  }
  return pid;
}

}  // namespace hull::container
