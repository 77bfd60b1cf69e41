// The parts of hull-hostd that need no emulated host: sessions with real processes, and the copies
// of a prefix.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/emulated_host/frame_channel.h"
#include "vmm/emulated_host/hostd_prefix_cache.h"
#include "vmm/emulated_host/hostd_session.h"
#include "vmm/emulated_host/monotonic.h"
#include "vmm/emulated_host/protocol.h"

namespace hull::emulated_host {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string MakeTempDirectory() {
  std::string path = absl::StrCat(testing::TempDir(), "/hostd.XXXXXX");
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  return path;
}

void Write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::trunc) << content;
}

std::string Read(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path).rdbuf();
  return content.str();
}

UniqueFd OpenRoot() {
  absl::StatusOr<UniqueFd> root = UniqueFd::Open("/", O_PATH | O_DIRECTORY);
  EXPECT_TRUE(root.ok());
  return *std::move(root);
}

// Drives one session as hull-hostd's loop does, with the other end of its channel in hand.
class SessionTest : public testing::Test {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    channel_ = FrameChannel(UniqueFd(fds[0]));
    peer_ = FrameChannel(UniqueFd(fds[1]));
    absl::StatusOr<PrefixCache> cache =
        PrefixCache::Create(OpenRoot(), absl::StrCat(MakeTempDirectory(), "/cache"));
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_.emplace(*std::move(cache));
  }

  static OpenRequest Shell(const std::string& script) {
    OpenRequest request;
    request.argv = {"sh", "-c", script};
    request.environment = {"PATH=/usr/bin:/bin", "NAME=value"};
    request.directory = "/";
    request.umask = 022;
    request.forward_stdin = true;
    return request;
  }

  void Start(const OpenRequest& request) {
    absl::StatusOr<std::unique_ptr<HostdSession>> session =
        HostdSession::Start(5, request, *cache_);
    ASSERT_TRUE(session.ok()) << session.status();
    session_ = *std::move(session);
  }

  void Send(FrameType type, uint8_t stream, const std::string& payload) {
    ASSERT_TRUE(session_->OnFrame({5, type, stream, payload}, channel_).ok());
  }

  // One turn of the loop. Grants credit for what it receives, unless told not to.
  void Turn() {
    std::vector<pollfd> fds;
    session_->AddPollFds(true, fds);
    (void)poll(fds.data(), fds.size(), 10);
    int status;
    if (!reaped_ && waitpid(session_->pid(), &status, WNOHANG) == session_->pid()) {
      reaped_ = true;
      session_->OnReaped(status);
    }
    if (session_->deadline() <= MonotonicNow()) session_->Expire();
    session_->Pump(true, channel_);
    // Everything that was queued, however large, arrives in this turn.
    pollfd readable = {peer_.fd(), POLLIN, 0};
    do {
      ASSERT_TRUE(channel_.Flush().ok());
      if (poll(&readable, 1, 0) == 1) (void)peer_.Read();
      while (true) {
        absl::StatusOr<std::optional<Frame>> frame = peer_.Next();
        ASSERT_TRUE(frame.ok()) << frame.status();
        if (!frame->has_value()) break;
        EXPECT_EQ((*frame)->session, 5u);
        Receive(**frame);
      }
    } while (channel_.queued() > 0 || poll(&readable, 1, 0) == 1);
  }

  void Receive(const Frame& frame) {
    if (frame.type == FrameType::kData) {
      (frame.stream == kStdout ? out_ : err_) += frame.payload;
      if (grant_) Send(FrameType::kCredit, frame.stream, EncodeU32(frame.payload.size()));
    }
    if (frame.type == FrameType::kExit) exit_ = DecodeExitReport(frame.payload).value();
    if (frame.type == FrameType::kRefused) refusal_ = DecodeRefusal(frame.payload).value();
    if (frame.type == FrameType::kOpened) opened_ = true;
    if (frame.type == FrameType::kShut) stdin_shut_ = true;
  }

  template <typename Condition>
  bool TurnUntil(Condition condition) {
    const absl::Duration deadline = MonotonicNow() + absl::Seconds(60);
    while (!condition()) {
      if (MonotonicNow() > deadline) return false;
      Turn();
    }
    return true;
  }
  bool TurnUntilFinished() {
    return TurnUntil([this] { return session_->finished(); });
  }

  FrameChannel channel_, peer_;
  std::optional<PrefixCache> cache_;
  std::unique_ptr<HostdSession> session_;
  bool reaped_ = false, grant_ = true, opened_ = false, stdin_shut_ = false;
  std::string out_, err_;
  std::optional<ExitReport> exit_;
  std::optional<Refusal> refusal_;
};

TEST_F(SessionTest, PassesOutputsAndStatusApart) {
  OpenRequest request = Shell("echo $NAME; pwd; umask; echo err >&2; exit 7");
  request.directory = "/usr";
  request.umask = 027;
  Start(request);
  ASSERT_TRUE(TurnUntilFinished());
  EXPECT_TRUE(opened_);
  EXPECT_EQ(out_, "value\n/usr\n0027\n");
  EXPECT_EQ(err_, "err\n");
  ASSERT_TRUE(exit_.has_value());
  EXPECT_EQ(exit_->code, 7);
  EXPECT_EQ(exit_->signal, 0);
}

TEST_F(SessionTest, PassesDeathBySignal) {
  Start(Shell("kill -TERM $$"));
  ASSERT_TRUE(TurnUntilFinished());
  ASSERT_TRUE(exit_.has_value());
  EXPECT_EQ(exit_->signal, SIGTERM);
}

TEST_F(SessionTest, InputReachesTheProcessAndEnds) {
  Start(Shell("cat; echo end"));
  Send(FrameType::kData, kStdin, "hello ");
  Send(FrameType::kData, kStdin, "there\n");
  Send(FrameType::kEnd, kStdin, "");
  ASSERT_TRUE(TurnUntilFinished());
  EXPECT_EQ(out_, "hello there\nend\n");
  EXPECT_EQ(exit_->stdin_consumed, 12u);
}

TEST_F(SessionTest, ReportsHowMuchInputWasLeft) {
  Start(Shell("read line"));
  Send(FrameType::kData, kStdin, "one\ntwo\nthree\n");
  Send(FrameType::kEnd, kStdin, "");
  ASSERT_TRUE(TurnUntilFinished());
  // The shell reads a pipe byte by byte up to the end of the line.
  EXPECT_EQ(exit_->stdin_consumed, 4u);
}

TEST_F(SessionTest, TellsWhenTheProcessClosesItsInput) {
  Start(Shell("exec <&-; sleep 100"));
  EXPECT_TRUE(TurnUntil([this] { return stdin_shut_; }));
  Send(FrameType::kSignal, 0, EncodeSignal({SIGKILL, false}));
  ASSERT_TRUE(TurnUntilFinished());
  EXPECT_EQ(exit_->signal, SIGKILL);
}

TEST_F(SessionTest, WithoutForwardingTheInputIsEmpty) {
  OpenRequest request = Shell("cat; echo end");
  request.forward_stdin = false;
  Start(request);
  ASSERT_TRUE(TurnUntilFinished());
  EXPECT_EQ(out_, "end\n");
}

TEST_F(SessionTest, SendsNoMoreThanItsCredit) {
  grant_ = false;
  Start(Shell(absl::StrCat("head -c ", 3 * kStreamWindow, " /dev/zero; echo >&2")));
  EXPECT_TRUE(TurnUntil([this] { return out_.size() >= kStreamWindow; }));
  for (int i = 0; i < 20; ++i) Turn();
  EXPECT_EQ(out_.size(), kStreamWindow);
  EXPECT_EQ(err_, "");
  EXPECT_FALSE(session_->finished());
  grant_ = true;
  Send(FrameType::kCredit, kStdout, EncodeU32(kStreamWindow));
  ASSERT_TRUE(TurnUntilFinished());
  EXPECT_EQ(out_.size(), 3 * size_t{kStreamWindow});
  EXPECT_EQ(err_, "\n");
}

TEST_F(SessionTest, AnUnwantedOutputIsABrokenPipe) {
  Start(Shell("exec yes"));
  EXPECT_TRUE(TurnUntil([this] { return !out_.empty(); }));
  Send(FrameType::kShut, kStdout, "");
  ASSERT_TRUE(TurnUntilFinished());
  EXPECT_EQ(exit_->signal, SIGPIPE);
}

TEST_F(SessionTest, ATerminalHasTheCallersSizeAndTellsItsEnd) {
  OpenRequest request = Shell("stty size; test -t 0 && test -t 1 && test -t 2 && echo tty");
  request.terminal_streams = 7;
  request.rows = 33;
  request.columns = 77;
  Start(request);
  ASSERT_TRUE(TurnUntilFinished());
  // Not raw at the caller's: bytes pass as they are.
  EXPECT_EQ(out_, "33 77\ntty\n");
  EXPECT_EQ(exit_->code, 0);
}

TEST_F(SessionTest, ATerminalResizes) {
  OpenRequest request =
      Shell("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done");
  request.terminal_streams = 7;
  Start(request);
  ASSERT_TRUE(TurnUntil([this] { return out_ == "ready\n"; }));
  Send(FrameType::kResize, 0, EncodeResize({50, 132}));
  ASSERT_TRUE(TurnUntilFinished());
  EXPECT_EQ(out_, "ready\n50 132\n");
}

TEST_F(SessionTest, RefusesWhatCannotBeStarted) {
  OpenRequest request = Shell("");
  request.argv = {"/no/such/program"};
  Start(request);
  ASSERT_TRUE(TurnUntilFinished());
  ASSERT_TRUE(refusal_.has_value());
  EXPECT_EQ(refusal_->error, ENOENT);
  EXPECT_THAT(refusal_->message, HasSubstr("/no/such/program"));
  EXPECT_FALSE(opened_);
  EXPECT_FALSE(exit_.has_value());
}

TEST_F(SessionTest, RefusesAMissingDirectory) {
  OpenRequest request = Shell("true");
  request.directory = "/no/such/directory";
  Start(request);
  ASSERT_TRUE(TurnUntilFinished());
  ASSERT_TRUE(refusal_.has_value());
  EXPECT_THAT(refusal_->message, HasSubstr("/no/such/directory"));
}

TEST_F(SessionTest, CloseEndsTheWholeGroupWithoutAReport) {
  Start(Shell("sleep 100 & echo started; wait"));
  ASSERT_TRUE(TurnUntil([this] { return !out_.empty(); }));
  Send(FrameType::kClose, 0, "");
  ASSERT_TRUE(TurnUntilFinished());
  EXPECT_FALSE(exit_.has_value());
  // An orphan that has ended is there until its new parent has looked.
  EXPECT_TRUE(TurnUntil([this] { return kill(-session_->pid(), 0) != 0; }));
}

TEST_F(SessionTest, CloseKillsWhatIgnoresIt) {
  Start(Shell("trap '' TERM HUP; echo started; while :; do sleep 0.1; done"));
  ASSERT_TRUE(TurnUntil([this] { return !out_.empty(); }));
  Send(FrameType::kClose, 0, "");
  EXPECT_LT(session_->deadline(), MonotonicNow() + absl::Seconds(30));
  session_->Expire();
  ASSERT_TRUE(TurnUntilFinished());
}

TEST_F(SessionTest, APeerThatBreaksTheProtocolIsAnError) {
  Start(Shell("sleep 100"));
  EXPECT_FALSE(session_->OnFrame({5, FrameType::kData, kStdout, "x"}, channel_).ok());
  EXPECT_FALSE(session_->OnFrame({5, FrameType::kCredit, kStdout, EncodeU32(1)}, channel_).ok());
  EXPECT_FALSE(session_->OnFrame({5, FrameType::kSignal, 0, "x"}, channel_).ok());
  EXPECT_FALSE(session_->OnFrame({5, FrameType::kReady, 0, ""}, channel_).ok());
  Send(FrameType::kClose, 0, "");
  ASSERT_TRUE(TurnUntilFinished());
}

class PrefixCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string directory = MakeTempDirectory();
    prefix_ = absl::StrCat(directory, "/prefix");
    cache_directory_ = absl::StrCat(directory, "/cache");
    for (const char* part : {"", "/bin", "/share"}) {
      ASSERT_EQ(mkdir(absl::StrCat(prefix_, part).c_str(), 0755), 0);
    }
    program_ = absl::StrCat(prefix_, "/bin/hull");
    Write(program_, "program");
    ASSERT_EQ(chmod(program_.c_str(), 0755), 0);
    Write(absl::StrCat(prefix_, "/share/vmlinux"), "kernel");
  }

  PrefixCache Open() {
    absl::StatusOr<PrefixCache> cache = PrefixCache::Create(OpenRoot(), cache_directory_);
    EXPECT_TRUE(cache.ok()) << cache.status();
    return *std::move(cache);
  }

  std::string prefix_, program_, cache_directory_;
};

TEST_F(PrefixCacheTest, CopiesProgramsAndKernelOnce) {
  const PrefixCache cache = Open();
  const std::string copy = cache.Resolve(program_).value();
  EXPECT_THAT(copy, StartsWith(cache_directory_));
  EXPECT_EQ(Read(copy), "program");
  EXPECT_EQ(access(copy.c_str(), X_OK), 0);
  EXPECT_EQ(Read(copy.substr(0, copy.size() - 8) + "share/vmlinux"), "kernel");
  EXPECT_EQ(cache.Resolve(program_).value(), copy);
}

TEST_F(PrefixCacheTest, NoticesAChangeOfTheSameSize) {
  const PrefixCache cache = Open();
  const std::string copy = cache.Resolve(program_).value();
  Write(absl::StrCat(prefix_, "/share/vmlinux"), "lernel");
  const std::string newer = cache.Resolve(program_).value();
  EXPECT_NE(newer, copy);
  EXPECT_EQ(Read(newer.substr(0, newer.size() - 8) + "share/vmlinux"), "lernel");
  // Whoever runs the old one keeps it.
  EXPECT_EQ(Read(copy), "program");
}

TEST_F(PrefixCacheTest, LeavesOtherProgramsAlone) {
  const PrefixCache cache = Open();
  EXPECT_EQ(cache.Resolve("/bin/sh").value(), "/bin/sh");
  EXPECT_EQ(cache.Resolve("/x").value(), "/x");
  ASSERT_EQ(unlink(absl::StrCat(prefix_, "/share/vmlinux").c_str()), 0);
  EXPECT_EQ(cache.Resolve(program_).value(), program_);
}

TEST_F(PrefixCacheTest, LeavesALargeDirectoryAlone) {
  const PrefixCache cache = Open();
  for (int i = 0; i < 100; ++i) Write(absl::StrCat(prefix_, "/share/", i), "");
  EXPECT_EQ(cache.Resolve(program_).value(), program_);
}

TEST_F(PrefixCacheTest, FollowsLinksAndSkipsBrokenOnesAndDirectories) {
  const PrefixCache cache = Open();
  ASSERT_EQ(symlink("vmlinux", absl::StrCat(prefix_, "/share/link").c_str()), 0);
  ASSERT_EQ(symlink("nowhere", absl::StrCat(prefix_, "/share/broken").c_str()), 0);
  ASSERT_EQ(mkdir(absl::StrCat(prefix_, "/share/directory").c_str(), 0755), 0);
  const std::string copy = cache.Resolve(program_).value();
  const std::string share = copy.substr(0, copy.size() - 8) + "share/";
  EXPECT_EQ(Read(share + "link"), "kernel");
  EXPECT_NE(access((share + "broken").c_str(), F_OK), 0);
  EXPECT_NE(access((share + "directory").c_str(), F_OK), 0);
}

TEST_F(PrefixCacheTest, AnUnfinishedCopyIsNotUsed) {
  const PrefixCache cache = Open();
  const std::string leftover = absl::StrCat(cache_directory_, "/unfinished");
  ASSERT_EQ(mkdir(leftover.c_str(), 0755), 0);
  ASSERT_EQ(mkdir(absl::StrCat(leftover, "/bin").c_str(), 0755), 0);
  Write(absl::StrCat(leftover, "/bin/hull"), "half");
  EXPECT_EQ(Read(cache.Resolve(program_).value()), "program");
}

TEST_F(PrefixCacheTest, AStartKeepsTheNewestCopyOnly) {
  const std::string old = Open().Resolve(program_).value();
  const timespec long_ago[2] = {{1000, 0}, {1000, 0}};
  ASSERT_EQ(
      utimensat(AT_FDCWD, old.substr(0, old.size() - strlen("/bin/hull")).c_str(), long_ago, 0), 0);
  Write(program_, "another program");
  const std::string newer = Open().Resolve(program_).value();
  EXPECT_NE(newer, old);
  const PrefixCache again = Open();
  EXPECT_NE(access(old.c_str(), F_OK), 0);
  EXPECT_EQ(again.Resolve(program_).value(), newer);
}

}  // namespace
}  // namespace hull::emulated_host
