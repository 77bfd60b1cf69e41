// A monitor that is compromised already, in its real sandbox.

#include "vmm/sandbox/monitor_sandbox.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/escape_attempts.h"
#include "tests/integration/vmm_process.h"
#include "vmm/base/file_io.h"
#include "vmm/sandbox/seccomp.h"

namespace hull {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class MonitorSandboxTest : public testing::Test {
 protected:
  MonitorSandboxTest() {
    for (const char* path : {"containers/own/logs", "containers/other", "run/own", "names"}) {
      std::filesystem::create_directories(directory_.Path(path));
    }
    for (const char* path : {"containers/own/state", "containers/other/state", "secret"}) {
      std::ofstream(directory_.Path(path)) << "text";
    }
    std::filesystem::create_symlink("own", directory_.Path("names/web"));
  }

  // Runs `body` in a child in the sandbox of the container "own"; what it writes to standard error.
  template <typename Body>
  std::string RunConfined(Body body) {
    return RunIn(
        [this] {
          return sandbox::RestrictMonitor(
              {.own = {directory_.Path("containers/own"), directory_.Path("run/own")},
               .parents = {directory_.Path("containers"), directory_.Path("run"), "/not/there"},
               .links = {directory_.Path("names")}});
        },
        {sandbox::ThreadKind::kMonitor}, body);
  }
  template <typename Restrict, typename Body>
  std::string RunIn(Restrict restrict_it, const std::vector<sandbox::ThreadKind>& lists,
                    Body body) {
    const std::string said = directory_.Path("said");
    const pid_t pid = fork();
    if (pid == 0) {
      dup2(open(said.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
      absl::Status status = restrict_it();
      // In place of the product's, which would end the process.
      AnswerViolations();
      for (const sandbox::ThreadKind list : lists) status.Update(sandbox::EnterFilter(list));
      if (!status.ok()) _exit(1);
      body();
      _exit(0);
    }
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    return ReadFile(said, 1 << 20).value();
  }
  // Errors of the child, as it cannot use googletest.
  static void Expect(bool good, const char* what) {
    if (!good) dprintf(STDERR_FILENO, "WRONG %s: errno %d\n", what, errno);
  }

  const TemporaryDirectory directory_;
};

TEST_F(MonitorSandboxTest, ACompromisedMonitorDoesNotGetOut) {
  const std::string said = RunConfined([] { TryToEscape("monitor"); });
  // What a guest connects to is a pair of sockets that the monitor makes, and its clients connect
  // to one that listens. Nothing else is there.
  EXPECT_THAT(said, HasSubstr("escape-proof monitor: "));
  EXPECT_THAT(said, HasSubstr(" attempts, 2 escaped"));
  EXPECT_THAT(said, HasSubstr("ESCAPED monitor: socketpair"));
  EXPECT_THAT(said, HasSubstr("ESCAPED monitor: Unix socket"));
}

TEST_F(MonitorSandboxTest, OnlyItsOwnDirectoriesAreThere) {
  const std::string said = RunConfined([this] {
    const auto opens = [this](const char* path, int flags) {
      return open(directory_.Path(path).c_str(), flags, 0600) >= 0;
    };
    Expect(opens("containers/own/state", O_RDWR), "own state");
    Expect(opens("containers/own/logs/1", O_WRONLY | O_CREAT), "own log");
    Expect(mkdir(directory_.Path("run/own/more").c_str(), 0700) == 0, "own directory");
    Expect(rename(directory_.Path("containers/own/logs/1").c_str(),
                  directory_.Path("containers/own/logs/2").c_str()) == 0,
           "own rename");
    Expect(unlink(directory_.Path("names/web").c_str()) == 0, "name");
    Expect(rmdir(directory_.Path("run/own/more").c_str()) == 0, "own directory's end");
    Expect(rename(directory_.Path("run/own").c_str(), directory_.Path("run/gone").c_str()) == 0,
           "run directory's new name");
    Expect(rmdir(directory_.Path("run/gone").c_str()) == 0, "run directory's end");

    Expect(!opens("secret", O_RDONLY), "a file beside");
    Expect(!opens("containers/other/state", O_RDONLY), "another's state");
    Expect(!opens("containers/other/new", O_WRONLY | O_CREAT), "a file of another's");
    Expect(!opens("containers/new", O_WRONLY | O_CREAT), "a file above");
    Expect(unlink(directory_.Path("containers/other/state").c_str()) != 0, "another's file");
    Expect(rmdir(directory_.Path("containers/other").c_str()) != 0, "another's directory");
    Expect(rename(directory_.Path("containers/own/state").c_str(),
                  directory_.Path("containers/other/state").c_str()) != 0,
           "a rename to another's");
  });
  EXPECT_THAT(said, Not(HasSubstr("WRONG")));
}

TEST_F(MonitorSandboxTest, ACompromisedDisplayDoesNotGetOut) {
  using sandbox::ThreadKind;
  const std::string server =
      RunIn(sandbox::RestrictDisplay, {ThreadKind::kDisplay}, [] { TryToEscape("display"); });
  EXPECT_THAT(server, HasSubstr("escape-proof display: "));
  // A process for a client is spoken to over a pair of sockets. Nothing else is there.
  EXPECT_THAT(server, HasSubstr(" attempts, 1 escaped"));
  EXPECT_THAT(server, HasSubstr("ESCAPED display: socketpair"));
  const std::string client =
      RunIn(sandbox::RestrictDisplay, {ThreadKind::kDisplay, ThreadKind::kDisplayClient}, [this] {
        TryToEscape("client");
        Expect(open(directory_.Path("secret").c_str(), O_RDONLY) < 0, "a file");
        Expect(fork() < 0, "a process");
      });
  EXPECT_THAT(client, HasSubstr("escape-proof client: "));
  EXPECT_THAT(client, HasSubstr(" attempts, 0 escaped"));
  EXPECT_THAT(client, Not(HasSubstr("WRONG")));
}

}  // namespace
}  // namespace hull
