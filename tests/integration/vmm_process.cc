#include "tests/integration/vmm_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace hull {

namespace {

constexpr int kPipeSize = 1 << 20;

struct Pipe {
  Pipe() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) abort();
    read_end = UniqueFd(fds[0]);
    write_end = UniqueFd(fds[1]);
    // Larger than what any guest here prints, so that nobody waits for a reader.
    fcntl(fds[0], F_SETPIPE_SZ, kPipeSize);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
  }
  UniqueFd read_end;
  UniqueFd write_end;
};

std::string ReadWhatIsThere(int fd) {
  std::string all;
  std::array<char, 65536> buffer;
  ssize_t n;
  while ((n = read(fd, buffer.data(), buffer.size())) > 0) {
    all.append(buffer.data(), static_cast<size_t>(n));
  }
  return all;
}

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

}  // namespace

std::string DataFile(const std::string& path) {
  if (const char* runfiles = getenv("TEST_SRCDIR")) return absl::StrCat(runfiles, "/hull/", path);
  return absl::StrCat(std::filesystem::read_symlink("/proc/self/exe").string(), ".runfiles/hull/",
                      path);
}

TemporaryDirectory::TemporaryDirectory() {
  // Holds Unix sockets, so not $TEST_TMPDIR (too long for sun_path) and not /tmp, which in the
  // emulated host is the user's, where sockets cannot be made.
  path_ = "/dev/shm/hull-test-XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) abort();
}

TemporaryDirectory::~TemporaryDirectory() { std::filesystem::remove_all(path_); }

VmmProcess::VmmProcess(const std::vector<std::string>& arguments, const std::string& name) {
  const std::string program = DataFile(name);
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  Pipe out;
  Pipe err;
  pid_ = fork();
  if (pid_ == 0) {
    dup2(out.write_end.get(), STDOUT_FILENO);
    dup2(err.write_end.get(), STDERR_FILENO);
    execv(program.c_str(), argv.data());
    _exit(127);
  }
  out_ = std::move(out.read_end);
  err_ = std::move(err.read_end);
  pidfd_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  EXPECT_TRUE(pidfd_.valid());
}

VmmProcess::~VmmProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool VmmProcess::AwaitOutput(absl::Duration timeout) {
  pollfd readable = {out_.get(), POLLIN, 0};
  return poll(&readable, 1, Milliseconds(timeout)) == 1 && (readable.revents & POLLIN) != 0;
}

VmmProcess::Result VmmProcess::Wait(absl::Duration timeout) {
  Result result;
  pollfd ended = {pidfd_.get(), POLLIN, 0};
  result.timed_out = poll(&ended, 1, Milliseconds(timeout)) != 1;
  if (result.timed_out) kill(pid_, SIGKILL);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = ReadWhatIsThere(out_.get());
  result.err = ReadWhatIsThere(err_.get());
  return result;
}

}  // namespace hull
