#include "vmm/sandbox/jail.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/base/unique_fd.h"
#include "vmm/sandbox/failing_call.h"
#include "vmm/sandbox/namespaces.h"

namespace hull::sandbox {
namespace {

using ::testing::HasSubstr;

constexpr uid_t kUser = 0x70000123;
constexpr uid_t kOrdinaryUser = 12345;

JailOptions Options() {
  JailOptions options;
  if (geteuid() == 0) options.user = kUser;
  options.max_address_space = uint64_t{1} << 30;
  options.max_file_size = 1 << 20;
  return options;
}

// Runs `body` in a new jail; what it returns is what it found wrong, empty for nothing. `prepare`
// comes before the jail.
template <typename Body>
std::string InJail(
    const JailOptions& options, Body body, uid_t as = 0,
    const std::function<bool()>& prepare = [] { return true; }) {
  int report[2];
  if (pipe(report) != 0) return "pipe";
  const pid_t outer = fork();
  if (outer == 0) {
    close(report[0]);
    const auto say = [&](absl::string_view text) {
      (void)!write(report[1], text.data(), text.size());
    };
    if (as != 0 && (setresgid(as, as, as) != 0 || setresuid(as, as, as) != 0)) _exit(1);
    // As after an exec, which the change of user took away.
    prctl(PR_SET_DUMPABLE, 1);
    const absl::StatusOr<pid_t> pid = ForkIntoNamespace();
    if (!pid.ok()) say(pid.status().message()), _exit(1);
    if (*pid == 0) {
      JailOptions mine = options;
      mine.descriptors = {report[1]};
      mine.descriptors.insert(mine.descriptors.end(), options.descriptors.begin(),
                              options.descriptors.end());
      if (!prepare()) say("not prepared"), _exit(1);
      const absl::Status status = EnterJail(mine);
      say(status.ok() ? body() : std::string(status.message()));
      _exit(0);
    }
    close(report[1]);
    int wait_status;
    waitpid(*pid, &wait_status, 0);
    _exit(wait_status == 0 ? 0 : 1);
  }
  close(report[1]);
  std::string said;
  char buffer[512];
  for (ssize_t n; (n = read(report[0], buffer, sizeof(buffer))) > 0;) {
    said.append(buffer, static_cast<size_t>(n));
  }
  close(report[0]);
  int wait_status;
  waitpid(outer, &wait_status, 0);
  if (wait_status != 0) absl::StrAppend(&said, " (wait status ", wait_status, ")");
  return said;
}

TEST(JailTest, NothingOfTheHostIsLeft) {
  EXPECT_EQ(InJail(Options(),
                   []() -> std::string {
                     if (getpid() != 1) return "pid";
                     for (const char* path : {"/etc/passwd", "/proc/self/status", "/dev/null",
                                              "/dev/kvm", "/sys", "/..", "/", "."}) {
                       if (open(path, O_RDONLY) >= 0) return path;
                     }
                     if (open("/x", O_RDWR | O_CREAT, 0600) >= 0) return "create";
                     if (mkdir("/x", 0700) == 0) return "mkdir";
                     if (kill(-1, 0) == 0) return "somebody else is there";
                     if (kill(2, 0) == 0) return "pid 2";
                     return "";
                   }),
            "");
}

TEST(JailTest, NoPrivilegeComesBack) {
  EXPECT_EQ(InJail(Options(),
                   []() -> std::string {
                     if (setuid(0) == 0) return "setuid";
                     if (setresuid(1000, 1000, 1000) == 0) return "setresuid";
                     if (unshare(CLONE_NEWUSER) == 0) return "a user namespace";
                     if (unshare(CLONE_NEWNET) == 0) return "a network namespace";
                     if (chroot("/") == 0) return "chroot";
                     if (syscall(SYS_pivot_root, "/", "/") == 0) return "pivot_root";
                     if (sethostname("x", 1) == 0) return "sethostname";
                     return "";
                   }),
            "");
}

TEST(JailTest, WhoeverHasLeftTheHostIsJailedTheSame) {
  JailOptions options = Options();
  options.host_left = true;
  const auto leave = [&] { return LeaveHost(options.user).error == 0; };
  EXPECT_EQ(InJail(
                options,
                []() -> std::string {
                  if (open("/", O_RDONLY) >= 0) return "root";
                  if (setuid(0) == 0) return "setuid";
                  if (unshare(CLONE_NEWUSER) == 0) return "a user namespace";
                  return "";
                },
                0, leave),
            "");
}

TEST(JailTest, WhoeverOnlySaysSoIsNotJailed) {
  JailOptions options = Options();
  options.host_left = true;
  EXPECT_THAT(InJail(options, [] { return std::string(); }),
              HasSubstr("the user namespace is not new"));
}

TEST(JailTest, LimitsHold) {
  JailOptions options = Options();
  options.max_descriptors = 20;
  options.max_threads = 2;
  EXPECT_EQ(InJail(options,
                   []() -> std::string {
                     int opened = 0;
                     while (dup(0) >= 0) ++opened;
                     if (errno != EMFILE || opened > 20) return "descriptors";
                     const size_t size = size_t{2} << 30;
                     if (mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                              -1, 0) != MAP_FAILED) {
                       return "address space";
                     }
                     int born = 0;
                     for (; born < 10; ++born) {
                       const pid_t pid = fork();
                       if (pid < 0) break;
                       if (pid == 0) pause();
                     }
                     if (born > 1) return absl::StrCat(born, " processes");
                     rlimit limit;
                     if (getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_max != 0) return "core";
                     return "";
                   }),
            "");
}

TEST(JailTest, OnlyListedDescriptorsStay) {
  const UniqueFd secret(open("/etc/passwd", O_RDONLY));
  const UniqueFd listed(open("/dev/null", O_RDONLY));
  JailOptions options = Options();
  options.descriptors = {listed.get()};
  EXPECT_EQ(InJail(options,
                   [&]() -> std::string {
                     int open_count = 0;
                     for (int fd = 0; fd < 1000; ++fd) {
                       if (fcntl(fd, F_GETFD) >= 0) ++open_count;
                     }
                     if (fcntl(secret.get(), F_GETFD) >= 0) return "unlisted is open";
                     if (fcntl(listed.get(), F_GETFD) < 0) return "listed is closed";
                     // Three standard streams, the listed one, and the report of this test.
                     return open_count == 5 ? "" : absl::StrCat(open_count, " are open");
                   }),
            "");
}

TEST(JailTest, AnOrdinaryUserIsJailedTheSame) {
  if (geteuid() != 0) return;  // then every test here is this one
  JailOptions options = Options();
  options.user.reset();
  EXPECT_EQ(InJail(
                options,
                []() -> std::string {
                  if (open("/", O_RDONLY) >= 0) return "root";
                  if (setuid(0) == 0) return "setuid";
                  if (unshare(CLONE_NEWUSER) == 0) return "a user namespace";
                  return "";
                },
                kOrdinaryUser),
            "");
}

// What a host may lack.

std::string Nothing() { return ""; }

TEST(JailTest, AHostWithoutNamespacesRunsNothing) {
  const struct {
    uint32_t error;
    const char* says;
  } cases[] = {{EPERM, "kernel.unprivileged_userns_clone"},
               {ENOSPC, "user.max_*_namespaces"},
               {EINVAL, "this host's kernel lacks them"}};
  for (const auto& c : cases) {
    EXPECT_THAT(InJail(Options(), Nothing, 0, [&c] { return MakeCallFail(SYS_unshare, c.error); }),
                HasSubstr(c.says));
  }
}

TEST(JailTest, NeitherDoesOneOnWhichNoProcessCanBeMadeInThem) {
  const pid_t pid = fork();
  if (pid == 0) {
    if (!MakeCallFail(SYS_clone, EPERM)) _exit(2);
    const absl::StatusOr<pid_t> born = ForkIntoNamespace();
    _exit(absl::IsPermissionDenied(born.status()) &&
                  absl::StrContains(born.status().message(), "jail: make a process in namespaces")
              ? 0
              : 1);
  }
  int status;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

TEST(JailTest, AHostWithoutLandlockIsJailedWithoutIt) {
  EXPECT_EQ(InJail(Options(), Nothing, 0,
                   [] { return MakeCallFail(SYS_landlock_create_ruleset, ENOSYS); }),
            "");
}

TEST(JailTest, AStepThatFailsIsNamedAndNothingRuns) {
  const struct {
    uint32_t call;
    const char* says;
  } cases[] = {
      {SYS_close_range, "close inherited descriptors"}, {SYS_setresuid, "become the user"},
      {SYS_setgroups, "supplementary groups"},          {SYS_mount, "mount an empty root"},
      {SYS_pivot_root, "change to the empty root"},     {SYS_capset, "drop all capabilities"},
      {SYS_landlock_restrict_self, "Landlock"}};
  for (const auto& c : cases) {
    const std::string said =
        InJail(Options(), Nothing, 0, [&c] { return MakeCallFail(c.call, EPERM); });
    EXPECT_THAT(said, HasSubstr(c.says));
  }
}

TEST(JailTest, SeenFromOutsideItIsTheUserOfTheContainer) {
  if (geteuid() != 0) return;  // an ordinary user stays that user
  int hold[2];
  ASSERT_EQ(pipe(hold), 0);
  const absl::StatusOr<pid_t> pid = ForkIntoNamespace();
  ASSERT_TRUE(pid.ok()) << pid.status();
  if (*pid == 0) {
    JailOptions options = Options();
    options.descriptors = {hold[1]};
    if (!EnterJail(options).ok()) _exit(1);
    (void)!write(hold[1], "x", 1);
    pause();
  }
  char byte;
  close(hold[1]);
  ASSERT_EQ(read(hold[0], &byte, 1), 1) << "the jail was not entered";
  std::ifstream file(absl::StrCat("/proc/", *pid, "/status"));
  std::stringstream text;
  text << file.rdbuf();
  const std::string id = absl::StrCat("\t", kUser, "\t", kUser, "\t", kUser, "\t", kUser, "\n");
  EXPECT_THAT(text.str(), HasSubstr("Uid:" + id));
  EXPECT_THAT(text.str(), HasSubstr("Gid:" + id));
  EXPECT_THAT(text.str(), HasSubstr("Groups:\t \n"));
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    EXPECT_THAT(text.str(), HasSubstr(absl::StrCat(set, ":\t0000000000000000\n")));
  }
  EXPECT_THAT(text.str(), HasSubstr("NoNewPrivs:\t1\n"));
  kill(*pid, SIGKILL);
  waitpid(*pid, nullptr, 0);
  close(hold[0]);
}

TEST(JailTest, ItDiesWithItsParent) {
  int hold[2];
  ASSERT_EQ(pipe(hold), 0);
  const pid_t parent = fork();
  if (parent == 0) {
    const UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    const absl::StatusOr<pid_t> pid = ForkIntoNamespace();
    if (pid.ok() && *pid == 0) {
      JailOptions options = Options();
      options.descriptors = {hold[1]};
      options.parent = self.get();
      if (!EnterJail(options).ok()) _exit(1);
      (void)!write(hold[1], "x", 1);
    }
    pause();
  }
  close(hold[1]);
  char byte;
  ASSERT_EQ(read(hold[0], &byte, 1), 1);
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  // The end of the pipe's last writer.
  EXPECT_EQ(read(hold[0], &byte, 1), 0);
  close(hold[0]);
}

TEST(JailTest, AParentThatIsGoneAlreadyIsNoticed) {
  const pid_t gone = fork();
  if (gone == 0) _exit(0);
  const UniqueFd ended(static_cast<int>(syscall(SYS_pidfd_open, gone, 0)));
  waitpid(gone, nullptr, 0);
  JailOptions options = Options();
  options.parent = ended.get();
  EXPECT_THAT(InJail(options, [] { return std::string(); }), HasSubstr("is gone"));
}

TEST(JailTest, OutsideAPidNamespaceItIsRefused) {
  EXPECT_THAT(std::string(EnterJail(Options()).message()), HasSubstr("PID namespace"));
}

}  // namespace
}  // namespace hull::sandbox
