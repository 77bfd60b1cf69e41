#include "vmm/container/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/base/unique_fd.h"

namespace hull::container {
namespace {

// What a shell script, started by Spawn with these descriptors from 3 on, prints.
std::string Output(const std::string& script, SpawnOptions options, std::vector<int> more = {}) {
  int fds[2];
  EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const UniqueFd read_end(fds[0]);
  UniqueFd write_end(fds[1]);
  options.program = "/bin/sh";
  options.argv = {"sh", "-c", script};
  options.fds = {-1, write_end.get(), -1};
  options.fds.insert(options.fds.end(), more.begin(), more.end());
  const absl::StatusOr<pid_t> pid = Spawn(options);
  EXPECT_TRUE(pid.ok()) << pid.status();
  write_end.Reset();
  std::string text;
  char buffer[4096];
  ssize_t n;
  while ((n = read(read_end.get(), buffer, sizeof(buffer))) > 0) {
    text.append(buffer, static_cast<size_t>(n));
  }
  int status = -1;
  EXPECT_EQ(waitpid(*pid, &status, 0), *pid);
  EXPECT_EQ(status, 0);
  return text;
}

TEST(SpawnTest, GivesTheListedDescriptorsAndNoOthers) {
  // Not close-on-exec, as a user's shell may have them.
  const UniqueFd leak(open("/dev/zero", O_RDONLY));
  const UniqueFd high_leak(fcntl(leak.get(), F_DUPFD, 50));
  const UniqueFd listed = *UniqueFd::Open("/dev/full", O_RDONLY);
  EXPECT_EQ(Output("for f in $(seq 0 99); do [ $f = 1 ] || readlink /proc/$$/fd/$f; done; true", {},
                   {listed.get(), -1}),
            "/dev/null\n/dev/null\n/dev/full\n/dev/null\n");
}

TEST(SpawnTest, DescriptorsMayTradePlaces) {
  // Low numbers, so that every target is somebody's source.
  UniqueFd a = *UniqueFd::Open("/dev/zero", O_RDONLY);
  UniqueFd b = *UniqueFd::Open("/dev/full", O_RDONLY);
  EXPECT_EQ(Output("readlink /proc/$$/fd/3 /proc/$$/fd/4", {}, {b.get(), a.get()}),
            "/dev/full\n/dev/zero\n");
  EXPECT_EQ(Output("readlink /proc/$$/fd/3 /proc/$$/fd/4", {}, {a.get(), a.get()}),
            "/dev/zero\n/dev/zero\n");
}

TEST(SpawnTest, StartsCleanly) {
  setenv("SECRET", "1", 1);
  sigset_t blocked, before;
  sigfillset(&blocked);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(Output("echo ${SECRET-none}; pwd; exec grep SigBlk /proc/self/status", {}),
            "none\n/\nSigBlk:\t0000000000000000\n");
  // An ignored SIGPIPE would let it go on.
  EXPECT_EQ(Output("sh -c 'kill -PIPE $$; echo alive'; echo $?", {}), "141\n");
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

TEST(SpawnTest, MakesASession) {
  EXPECT_EQ(
      Output("set -- $(cat /proc/$$/stat); [ $$ = $6 ] && echo leader", {.new_session = true}),
      "leader\n");
}

TEST(SpawnTest, TheChildDiesWithItsParent) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const UniqueFd read_end(fds[0]);
  UniqueFd write_end(fds[1]);
  const pid_t parent = fork();
  if (parent == 0) {
    SpawnOptions options = {.program = "/bin/sleep",
                            .argv = {"sleep", "600"},
                            .fds = {-1, write_end.get(), -1},
                            .parent_death_signal = SIGKILL};
    _exit(Spawn(options).ok() ? 0 : 1);
  }
  write_end.Reset();
  int status = -1;
  ASSERT_EQ(waitpid(parent, &status, 0), parent);
  ASSERT_EQ(status, 0);
  // The child held the only other end: this is its death.
  char byte;
  EXPECT_EQ(read(read_end.get(), &byte, 1), 0);
}

// The namespaces of the process itself, by name.
std::string Namespaces() {
  std::string all;
  for (const char* name : {"user", "mnt", "net", "ipc", "uts", "cgroup", "pid"}) {
    char link[64];
    const ssize_t size =
        readlink((std::string("/proc/self/ns/") + name).c_str(), link, sizeof(link));
    all.append(link, size > 0 ? static_cast<size_t>(size) : 0).append("\n");
  }
  return all;
}

TEST(SpawnTest, OneThatLeavesTheHostNeverRunsInIt) {
  SpawnOptions options = {.leave_host = true};
  if (geteuid() == 0) options.user = 0x70000124;
  const int dumpable = prctl(PR_GET_DUMPABLE);
  // /proc is the host's, in which the shell sees itself by the host's numbers.
  const std::string said = Output(
      "cd /proc/self/ns && readlink user mnt net ipc uts cgroup pid; grep -E '^(Cap|Uid)' "
      "../status",
      options);
  std::istringstream own(Namespaces());
  for (std::string line; std::getline(own, line);) {
    EXPECT_THAT(line, testing::HasSubstr(":["));
    EXPECT_THAT(said, testing::Not(testing::HasSubstr(line)));
  }
  // A user without a number in its namespace, and of all capabilities those to go on with.
  EXPECT_THAT(said, testing::HasSubstr("Uid:\t65534\t65534\t65534\t65534\n"));
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) {
    EXPECT_THAT(said, testing::HasSubstr(std::string(set) + ":\t0000000000200100\n"));
  }
  EXPECT_EQ(prctl(PR_GET_DUMPABLE), dumpable);
}

TEST(SpawnTest, SaysWhatCannotBeExecuted) {
  SpawnOptions options = {.program = "/no/such/program", .argv = {"x"}, .fds = {-1, -1, -1}};
  EXPECT_TRUE(absl::IsNotFound(Spawn(options).status()));
  EXPECT_THAT(std::string(Spawn(options).status().message()),
              testing::HasSubstr("/no/such/program"));
  options.program = "/etc/passwd";
  EXPECT_TRUE(absl::IsPermissionDenied(Spawn(options).status()));
  options.leave_host = true;
  EXPECT_TRUE(absl::IsPermissionDenied(Spawn(options).status()));
  // No child is left over.
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
}

}  // namespace
}  // namespace hull::container
