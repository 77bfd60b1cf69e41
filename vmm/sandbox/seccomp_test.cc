#include "vmm/sandbox/seccomp.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/sandbox/bpf_for_test.h"
#include "vmm/sandbox/failing_call.h"
#include "vmm/sandbox/filters.h"

namespace hull::sandbox {
namespace {

using ::testing::HasSubstr;

constexpr ThreadKind kVmmKinds[] = {ThreadKind::kSetup, ThreadKind::kVcpu, ThreadKind::kEventLoop,
                                    ThreadKind::kBlockWorker};
constexpr ThreadKind kKinds[] = {
    ThreadKind::kSetup,  ThreadKind::kVcpu,    ThreadKind::kEventLoop, ThreadKind::kBlockWorker,
    ThreadKind::kUnpack, ThreadKind::kMonitor, ThreadKind::kDisplay,   ThreadKind::kDisplayClient};

// Above every number that a kernel gives a call, and x32's calls, which the same architecture
// offers.
constexpr uint32_t kTried = 1024;
constexpr uint32_t kX32 = 0x40000000;

std::set<std::string> Allowed(ThreadKind kind) {
  const BpfProgram program(FilterOf(kind));
  std::set<std::string> names;
  for (uint32_t number = 0; number < kTried; ++number) {
    if (!program.Answers(number).contains(SECCOMP_RET_ALLOW)) continue;
    names.insert(number < kSystemCallCount && *kSystemCallNames[number] != '\0'
                     ? kSystemCallNames[number]
                     : std::to_string(number));
  }
  return names;
}

// allowed_calls.txt: "kind: name name ...".
std::map<std::string, std::set<std::string>> Listed() {
  std::map<std::string, std::set<std::string>> listed;
  std::ifstream file("vmm/sandbox/allowed_calls.txt");
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    kind.pop_back();
    for (std::string name; words >> name;) listed[kind].insert(name);
  }
  return listed;
}

uint32_t Answer(ThreadKind kind, uint32_t number, std::array<uint64_t, 6> arguments) {
  const std::set<uint32_t> answers = BpfProgram(FilterOf(kind)).Answers(number, arguments.data());
  EXPECT_EQ(answers.size(), 1u);
  return *answers.begin();
}

TEST(FilterTest, AllowsExactlyWhatIsListed) {
  const auto listed = Listed();
  for (const ThreadKind kind : kKinds) {
    const auto found = listed.find(std::string(NameOf(kind)));
    ASSERT_NE(found, listed.end()) << NameOf(kind);
    EXPECT_EQ(Allowed(kind), found->second)
        << "The programs allow other calls than vmm/sandbox/allowed_calls.txt says. Is the change "
           "one that a reviewer of the jail has seen?";
  }
}

TEST(FilterTest, TheListsAreShort) {
  EXPECT_LE(Allowed(ThreadKind::kVcpu).size(), 12u);
  EXPECT_LE(Allowed(ThreadKind::kEventLoop).size(), 30u);
  EXPECT_LE(Allowed(ThreadKind::kBlockWorker).size(), 30u);
  EXPECT_LE(Allowed(ThreadKind::kUnpack).size(), 24u);
}

TEST(FilterTest, EveryThreadsListIsWithinTheOneItInherits) {
  const std::set<std::string> all = Allowed(ThreadKind::kSetup);
  for (const ThreadKind kind : kVmmKinds) {
    for (const std::string& name : Allowed(kind)) EXPECT_TRUE(all.contains(name)) << name;
  }
}

TEST(FilterTest, OtherArchitecturesAreKilled) {
  for (const ThreadKind kind : kKinds) {
    const BpfProgram program(FilterOf(kind));
    for (uint32_t number = 0; number < kTried; ++number) {
      EXPECT_EQ(program.Answers(number, nullptr, AUDIT_ARCH_I386),
                std::set<uint32_t>{SECCOMP_RET_KILL_PROCESS});
      EXPECT_FALSE(program.Answers(kX32 | number).contains(SECCOMP_RET_ALLOW));
    }
  }
}

TEST(FilterTest, ArgumentsDecide) {
  const struct {
    ThreadKind kind;
    uint32_t number;
    std::array<uint64_t, 6> arguments;
    bool allowed;
  } cases[] = {
      {ThreadKind::kVcpu, SYS_ioctl, {3, KVM_RUN, 0}, true},
      {ThreadKind::kVcpu, SYS_ioctl, {3, KVM_CREATE_VM, 0}, false},
      {ThreadKind::kVcpu, SYS_ioctl, {3, KVM_CREATE_VCPU, 1}, false},
      {ThreadKind::kVcpu, SYS_ioctl, {3, uint64_t{KVM_RUN} | (uint64_t{1} << 32), 0}, false},
      {ThreadKind::kVcpu, SYS_madvise, {0, 4096, MADV_DONTNEED}, true},
      {ThreadKind::kVcpu, SYS_madvise, {0, 4096, MADV_DODUMP}, false},
      {ThreadKind::kEventLoop, SYS_ioctl, {3, KVM_RUN, 0}, false},
      {ThreadKind::kEventLoop, SYS_ioctl, {3, KVM_IRQ_LINE, 0}, true},
      {ThreadKind::kEventLoop,
       SYS_mmap,
       {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, ~uint64_t{0}, 0},
       true},
      {ThreadKind::kEventLoop,
       SYS_mmap,
       {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, ~uint64_t{0}, 0},
       false},
      {ThreadKind::kEventLoop, SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, 3, 0}, false},
      {ThreadKind::kEventLoop, SYS_tgkill, {1, 2, SIGRTMAX}, true},
      {ThreadKind::kEventLoop, SYS_tgkill, {2, 2, SIGKILL}, false},
      {ThreadKind::kEventLoop, SYS_mremap, {0, 1, 2, MREMAP_MAYMOVE}, true},
      {ThreadKind::kEventLoop, SYS_mremap, {0, 1, 2, MREMAP_MAYMOVE | MREMAP_FIXED, 0}, false},
      {ThreadKind::kBlockWorker, SYS_mmap, {0, 4096, PROT_EXEC, MAP_SHARED, 3, 0}, false},
      {ThreadKind::kSetup, SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0}, true},
      {ThreadKind::kSetup, SYS_mmap, {0, 4096, PROT_EXEC, MAP_SHARED, 3, 0}, false},
      {ThreadKind::kSetup, SYS_mprotect, {0, 4096, PROT_READ | PROT_EXEC}, false},
      {ThreadKind::kSetup, SYS_clone, {CLONE_VM | SIGCHLD}, false},
      {ThreadKind::kSetup, SYS_clone, {SIGCHLD}, false},
      {ThreadKind::kSetup, SYS_clone, {CLONE_NEWUSER}, false},
      {ThreadKind::kSetup, SYS_clone, {0x3d0f00}, true},
      {ThreadKind::kSetup, SYS_clone, {0x3d0f00 | CLONE_NEWNET}, false},
      {ThreadKind::kSetup, SYS_prctl, {PR_SET_NAME}, true},
      {ThreadKind::kSetup, SYS_prctl, {PR_SET_DUMPABLE, 1}, false},
      {ThreadKind::kSetup, SYS_prctl, {PR_SET_MM}, false},
      {ThreadKind::kSetup, SYS_fcntl, {3, F_SETOWN, 1}, false},
      {ThreadKind::kSetup, SYS_newfstatat, {3, 0, 0, AT_EMPTY_PATH}, true},
      {ThreadKind::kSetup, SYS_newfstatat, {3, 0, 0, 0}, false},
      {ThreadKind::kUnpack, SYS_newfstatat, {3, 0, 0, 0}, false},
      {ThreadKind::kMonitor, SYS_socketpair, {AF_UNIX, SOCK_STREAM}, true},
      {ThreadKind::kMonitor, SYS_socketpair, {AF_INET, SOCK_STREAM}, false},
      {ThreadKind::kMonitor, SYS_kill, {2, SIGKILL}, false},
      {ThreadKind::kDisplay, SYS_clone, {SIGCHLD | CLONE_NEWUSER}, false},
      {ThreadKind::kDisplay, SYS_mprotect, {0, 4096, PROT_READ | PROT_EXEC}, false},
      {ThreadKind::kDisplayClient, SYS_setsockopt, {3, SOL_SOCKET, SO_ATTACH_FILTER}, false},
      {ThreadKind::kMonitor, SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, 3, 0}, false},
      {ThreadKind::kUnpack, SYS_openat, {3, 0, 0, 0}, false},
      {ThreadKind::kUnpack, SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, 3, 0}, false},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(Answer(c.kind, c.number, c.arguments) == SECCOMP_RET_ALLOW, c.allowed)
        << NameOf(c.kind) << " " << kSystemCallNames[c.number] << " " << c.arguments[0] << " "
        << c.arguments[1] << " " << c.arguments[2];
  }
}

TEST(FilterTest, WhatLibrariesHaveAnAnswerToIsAnError) {
  EXPECT_EQ(Answer(ThreadKind::kVcpu, SYS_mmap, {}), SECCOMP_RET_ERRNO | ENOMEM);
  EXPECT_EQ(Answer(ThreadKind::kVcpu, SYS_clock_gettime, {}), SECCOMP_RET_ERRNO | ENOSYS);
  EXPECT_EQ(Answer(ThreadKind::kSetup, SYS_clone3, {}), SECCOMP_RET_ERRNO | ENOSYS);
}

// Runs `body` in a child that is confined to `kind`; its wait status and standard error.
struct Ended {
  int status;
  std::string err;
};
template <typename Body>
Ended RunConfined(ThreadKind kind, Body body) {
  int err[2];
  EXPECT_EQ(pipe(err), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(err[1], STDERR_FILENO);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_NAME, "vcpu7");
    if (!InstallViolationHandler("hull-vmm").ok() || !EnterFilter(kind).ok()) _exit(1);
    body();
    _exit(0);
  }
  close(err[1]);
  Ended ended = {};
  char buffer[512];
  for (ssize_t n; (n = read(err[0], buffer, sizeof(buffer))) > 0;) {
    ended.err.append(buffer, static_cast<size_t>(n));
  }
  close(err[0]);
  EXPECT_EQ(waitpid(pid, &ended.status, 0), pid);
  return ended;
}

TEST(EnterFilterTest, ACallOffTheListEndsTheProcessAndIsNamed) {
  const Ended ended =
      RunConfined(ThreadKind::kVcpu, [] { syscall(SYS_openat, -100, 0x1234, 2, 0x1ff, 5, 6); });
  EXPECT_TRUE(WIFEXITED(ended.status));
  EXPECT_EQ(WEXITSTATUS(ended.status), kExitViolation);
  EXPECT_EQ(ended.err,
            "hull-vmm: thread vcpu7 made the system call openat(0xffffff9c, 0x1234, 0x2, "
            "0x1ff, 0x5, 0x6), which it is not allowed to make\n");
}

TEST(EnterFilterTest, SoDoesACallThatHasNoName) {
  const Ended ended = RunConfined(ThreadKind::kBlockWorker, [] { syscall(1000); });
  EXPECT_EQ(WEXITSTATUS(ended.status), kExitViolation);
  EXPECT_THAT(ended.err, HasSubstr("number 0x3e8("));
}

TEST(EnterFilterTest, ABlockedSignalIsNoWayOut) {
  const Ended ended = RunConfined(ThreadKind::kBlockWorker, [] {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    syscall(SYS_openat, -100, 0, 0, 0);
  });
  ASSERT_TRUE(WIFSIGNALED(ended.status));
  EXPECT_EQ(WTERMSIG(ended.status), SIGSYS);
}

TEST(EnterFilterTest, AHostWithoutFiltersRunsNothing) {
  const pid_t pid = fork();
  if (pid == 0) {
    if (!MakeCallFail(SYS_seccomp, EINVAL)) _exit(2);
    const absl::Status status = EnterFilter(ThreadKind::kSetup);
    _exit(absl::IsFailedPrecondition(status) &&
                  absl::StrContains(status.message(), "CONFIG_SECCOMP_FILTER")
              ? 0
              : 1);
  }
  int status;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

TEST(EnterFilterTest, WhatIsOnTheListWorks) {
  const Ended ended = RunConfined(ThreadKind::kBlockWorker, [] {
    void* const memory =
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) _exit(2);
    if (write(STDERR_FILENO, "x", 1) != 1) _exit(3);
  });
  EXPECT_EQ(ended.status, 0);
  EXPECT_EQ(ended.err, "x");
}

// Abseil's mutexes ask the kernel for this and that the first time that a thread has to wait, and
// for more when it is not the only one.
TEST(EnterFilterTest, EveryKindOfThreadCanWaitForAMutex) {
  for (const ThreadKind kind : {ThreadKind::kVcpu, ThreadKind::kBlockWorker}) {
    const Ended ended = RunConfined(ThreadKind::kSetup, [kind] {
      struct Shared {
        explicit Shared(ThreadKind kind_of_waiter) : kind(kind_of_waiter) {}
        const ThreadKind kind;
        absl::Mutex mutex;
        std::atomic<int> done = 0;
      } shared(kind);
      shared.mutex.Lock();
      pthread_t waiters[2];
      for (pthread_t& waiter : waiters) {
        const int error = pthread_create(
            &waiter, nullptr,
            [](void* argument) -> void* {
              auto* const all = static_cast<Shared*>(argument);
              ConfineThread(all->kind);
              all->mutex.Lock();
              all->mutex.Unlock();
              ++all->done;
              return nullptr;
            },
            &shared);
        if (error != 0) _exit(2);
      }
      // Long enough for both to give up spinning and sleep.
      absl::SleepFor(absl::Milliseconds(100));
      shared.mutex.Unlock();
      for (const pthread_t waiter : waiters) pthread_join(waiter, nullptr);
      if (shared.done != 2) _exit(3);
    });
    EXPECT_EQ(ended.status, 0) << NameOf(kind);
    EXPECT_EQ(ended.err, "");
  }
}

}  // namespace
}  // namespace hull::sandbox
