#include "vmm/container/monitor.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/base/file_io.h"
#include "vmm/container/attach_protocol.h"
#include "vmm/container/attached_clients.h"
#include "vmm/container/log_format.h"
#include "vmm/container/monitor_connection.h"
#include "vmm/container/monitor_question.h"
#include "vmm/container/names.h"

namespace hull::container {
namespace {

using testing::HasSubstr;

constexpr int kTimeoutMs = 60000;

// A monitor in a process of its own, with fake_vmm for a VMM, and a client's end of its socket.
class MonitorTest : public testing::Test {
 protected:
  MonitorTest() {
    // TEST_TMPDIR is longer than a run directory may be.
    char directory[] = "/tmp/hull-monitor-XXXXXX";
    base_ = mkdtemp(directory);
    paths_ = {.root = base_ + "/root", .run = base_ + "/run"};
    store_ = *ContainerStore::Open(paths_);
    EXPECT_TRUE(store_->CollectDead().ok());
  }
  ~MonitorTest() override {
    if (monitor_ > 0) {
      kill(monitor_, SIGKILL);
      waitpid(monitor_, nullptr, 0);
    }
    EXPECT_EQ(system(("rm -r " + base_).c_str()), 0);
  }

  void Start(const std::string& scenario, bool remove = true,
             MonitorDeadlines deadlines = {.boot = absl::Seconds(60),
                                           .start = absl::Seconds(60),
                                           .drain = absl::Seconds(60),
                                           .shutdown = absl::Seconds(60)},
             const std::string& root_image = "/dev/null", ClientMode mode = ClientMode::kOwner) {
    char directory[4096];
    ASSERT_NE(getcwd(directory, sizeof(directory)), nullptr);
    // What fake_vmm is given as its kernel says what it is to do.
    files_ = {.vmm = absl::StrCat(directory, "/vmm/container/fake_vmm"),
              .kernel = base_ + "/scenario",
              .initramfs = "/dev/null"};
    ASSERT_TRUE(WriteFileAtomically(files_.kernel, scenario, 0600).ok());
    config_.id = *NewId();
    config_.name = "web";
    config_.root_image = root_image;
    config_.process.args = {"cat"};
    config_.process.attach_stdin = true;
    config_.hostname = "box";
    config_.remove = remove;
    config_.cpus = 1;
    config_.cpu_millis = 1000;
    config_.memory_bytes = uint64_t{128} << 20;
    config_.log_max_bytes = log_max_bytes_;
    absl::StatusOr<UniqueFd> lock = store_->Create(config_);
    ASSERT_TRUE(lock.ok()) << lock.status();
    deadlines_ = deadlines;
    Launch(*std::move(lock), mode);
  }

  // Starts the monitor.
  void Launch(UniqueFd lock, ClientMode mode = ClientMode::kOwner) {
    int sockets[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    client_.Reset(sockets[0]);
    UniqueFd monitor_end(sockets[1]);
    monitor_ = fork();
    if (monitor_ == 0) {
      client_.Reset();
      MonitorOptions options;
      options.id = config_.id;
      options.paths = paths_;
      options.files = files_;
      options.lock = std::move(lock);
      options.client = std::move(monitor_end);
      options.client_mode = mode;
#ifdef __SANITIZE_ADDRESS__
      options.confine = [](const sandbox::MonitorSandbox&) { return absl::OkStatus(); };
#endif
      _exit(RunMonitor(std::move(options), deadlines_).ok() ? 0 : 1);
    }
  }

  void Send(const AttachFrame& frame) {
    const std::string message = EncodeAttachFrame(frame);
    ASSERT_EQ(send(client_.get(), message.data(), message.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(message.size()));
  }

  // Another client, as a command that comes later.
  UniqueFd Connect() {
    for (int i = 0; i < 600; ++i) {
      absl::StatusOr<UniqueFd> socket = ConnectToMonitor(store_->RunDirectory(config_.id));
      if (socket.ok()) return *std::move(socket);
      usleep(100000);
    }
    ADD_FAILURE() << "no monitor listens";
    return {};
  }

  void StartDetached(const std::string& scenario, bool remove = true) {
    const MonitorDeadlines patient = {.boot = absl::Seconds(60),
                                      .start = absl::Seconds(60),
                                      .drain = absl::Seconds(60),
                                      .shutdown = absl::Milliseconds(500)};
    Start(scenario, remove, patient, "/dev/null", ClientMode::kDetached);
  }

  // The next frame; nothing if the monitor has closed the socket.
  std::optional<AttachFrame> Receive() {
    while (true) {
      pollfd wait = {.fd = client_.get(), .events = POLLIN, .revents = 0};
      EXPECT_EQ(poll(&wait, 1, kTimeoutMs), 1) << "no frame";
      const ssize_t n = recv(client_.get(), buffer_, sizeof(buffer_), MSG_DONTWAIT);
      if (n < 0 && errno == ECONNRESET) continue;  // it did not read all that was sent
      if (n <= 0) return std::nullopt;
      absl::StatusOr<AttachFrame> frame =
          DecodeAttachFrame(absl::string_view(buffer_, static_cast<size_t>(n)));
      EXPECT_TRUE(frame.ok()) << frame.status();
      return *frame;
    }
  }

  // Everything until the last frame, which is returned; output_ has the streams.
  AttachFrame Finish() {
    while (const std::optional<AttachFrame> frame = Receive()) {
      if (frame->type == AttachType::kExited || frame->type == AttachType::kFailed) return *frame;
      output_[frame->type].append(frame->data.data(), frame->data.size());
      credit_ += frame->type == AttachType::kStdinCredit ? frame->number : 0;
    }
    ADD_FAILURE() << "the monitor ended without a last frame";
    return {.type = AttachType::kKill};
  }

  void AwaitMonitor() {
    int status = -1;
    ASSERT_EQ(waitpid(monitor_, &status, 0), monitor_);
    monitor_ = 0;
    EXPECT_EQ(status, 0);
  }

  void ExpectFailure(const std::string& says, uint32_t status = 125) {
    const AttachFrame last = Finish();
    EXPECT_EQ(last.type, AttachType::kFailed);
    EXPECT_EQ(last.number, status);
    EXPECT_THAT(std::string(last.data), HasSubstr(says));
    ExpectNothingLeft();
  }

  void ExpectNothingLeft() {
    EXPECT_NE(access((paths_.root + "/containers/" + config_.id).c_str(), F_OK), 0);
    EXPECT_NE(access(store_->RunDirectory(config_.id).c_str(), F_OK), 0);
    AwaitMonitor();
  }

  std::string base_;
  MachineFiles files_;
  StorePaths paths_;
  std::unique_ptr<ContainerStore> store_;
  // The VMM's process, once the container runs.
  pid_t AwaitVmm() {
    const std::string state_path = paths_.root + "/containers/" + config_.id + "/state.json";
    for (int i = 0; i < 600 && access(state_path.c_str(), F_OK) != 0; ++i) usleep(100000);
    const absl::StatusOr<std::string> state = ReadFile(state_path, kMaxConfigBytes);
    return state.ok() ? ParseState(*state)->vmm_pid : 0;
  }

  static void ExpectGone(pid_t vmm) {
    // A zombie until whoever inherited it has looked; it runs no more.
    for (int i = 0; i < 600; ++i) {
      const absl::StatusOr<std::string> stat = ReadFile(absl::StrCat("/proc/", vmm, "/stat"), 4096);
      if (!stat.ok() || stat->find(") Z ") != std::string::npos) return;
      usleep(100000);
    }
    FAIL() << "the VMM outlives its monitor";
  }

  Config config_;
  uint64_t log_max_bytes_ = 0;
  MonitorDeadlines deadlines_ = {};
  pid_t monitor_ = 0;
  UniqueFd client_;
  char buffer_[kMaxAttachFrame];
  std::map<AttachType, std::string> output_;
  uint32_t credit_ = 0;
};

TEST_F(MonitorTest, PassesStreamsAndStatus) {
  Start("cat");
  Send({.type = AttachType::kStdin, .data = "hello\n"});
  Send({.type = AttachType::kStdinEnd});
  const AttachFrame last = Finish();
  EXPECT_EQ(last.type, AttachType::kExited);
  EXPECT_EQ(last.number, 7u);
  EXPECT_EQ(output_[AttachType::kStandardOutput], "hello\n");
  EXPECT_EQ(output_[AttachType::kStandardError], "done\n");
  EXPECT_EQ(credit_, 6u);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, PassesMoreThanAnyBufferHolds) {
  Start("cat");
  const std::string piece(kMaxAttachPayload, 'x');
  constexpr size_t kPieces = 64;
  uint32_t window = kInitialStdinCredit;
  size_t sent = 0;
  std::string received;
  // Echoes come back while input is sent, as the window allows.
  while (received.size() < kPieces * piece.size()) {
    while (sent < kPieces && window >= piece.size()) {
      Send({.type = AttachType::kStdin, .data = piece});
      window -= static_cast<uint32_t>(piece.size());
      if (++sent == kPieces) Send({.type = AttachType::kStdinEnd});
    }
    const std::optional<AttachFrame> frame = Receive();
    ASSERT_TRUE(frame.has_value());
    if (frame->type == AttachType::kStdinCredit) window += frame->number;
    if (frame->type == AttachType::kStandardOutput) {
      received.append(frame->data.data(), frame->data.size());
    }
  }
  EXPECT_EQ(received, std::string(kPieces * piece.size(), 'x'));
  EXPECT_EQ(Finish().number, 7u);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, AClientThatSendsBeyondItsCreditLosesTheContainer) {
  Start("stubborn", true,
        {.boot = absl::Seconds(60),
         .start = absl::Seconds(60),
         .drain = absl::Seconds(60),
         .shutdown = absl::Milliseconds(200)});
  const std::string piece(kMaxAttachPayload, 'x');
  // The guest does not read: what its socket holds comes back as credit, and no more.
  for (int i = 0; i < 64; ++i) {
    const std::string message = EncodeAttachFrame({.type = AttachType::kStdin, .data = piece});
    if (send(client_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) break;
  }
  ExpectFailure("more standard input than it may", 129);
}

TEST_F(MonitorTest, StrangersOnThePortDoNoHarm) {
  Start("stranger");
  Send({.type = AttachType::kStdinEnd});
  EXPECT_EQ(Finish().type, AttachType::kExited);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, SignalsReachTheProcess) {
  Start("signal");
  // Before the process has started, it is not one that ends a container.
  Send({.type = AttachType::kSignal, .number = SIGUSR1});
  EXPECT_EQ(Finish().number, 100u + SIGUSR1);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, AnInterruptBeforeTheStartEndsTheMachine) {
  Start("silent");
  Send({.type = AttachType::kSignal, .number = SIGINT});
  const AttachFrame last = Finish();
  EXPECT_EQ(last.type, AttachType::kExited);
  EXPECT_EQ(last.number, 130u);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, AKillNeedsNoGuest) {
  Start("silent");
  Send({.type = AttachType::kKill});
  EXPECT_EQ(Finish().number, 137u);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, AWriterWhoseReaderLeftIsTold) {
  Start("yes");
  ASSERT_TRUE(Receive().has_value());
  Send({.type = AttachType::kOutputClosed,
        .number = static_cast<uint32_t>(AttachType::kStandardOutput)});
  EXPECT_EQ(Finish().number, 7u);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, AContainerGoesWithItsClient) {
  Start("stubborn", true,
        {.boot = absl::Seconds(60),
         .start = absl::Seconds(60),
         .drain = absl::Seconds(60),
         .shutdown = absl::Milliseconds(200)});
  ASSERT_EQ(Receive()->type, AttachType::kHello);
  client_.Reset();
  AwaitMonitor();
  EXPECT_NE(access((paths_.root + "/containers/" + config_.id).c_str(), F_OK), 0);
}

TEST_F(MonitorTest, AStartThatFailedIsToldHarmlessly) {
  Start("start-failed");
  ExpectFailure("not found: \\x1b[2J", 127);
}

TEST_F(MonitorTest, TheEndOfTheMachineIsNotThatOfTheProcess) {
  const std::map<std::string, std::string> kEnds = {
      {"crash", "was killed by signal 4"},
      {"poweroff", "powered off from inside"},
      {"panic", "panic of its kernel (hull run --console shows it): the guest said \\x1b[1mboo"},
      {"reported-panic", "panic of its kernel (hull run --console shows it): the guest said boo"},
  };
  for (const auto& [scenario, says] : kEnds) {
    SCOPED_TRACE(scenario);
    Start(scenario);
    ExpectFailure(says);
  }
}

TEST_F(MonitorTest, AGuestThatBreaksTheProtocolIsEnded) {
  const std::map<std::string, std::string> kViolations = {
      {"long-frame", "a frame that is too long"},
      {"garbage", "does not decode"},
      {"second-control", "second control connection"},
      {"early-exit", "an end of a process that does not run"},
      {"other-version", "version 99"},
  };
  for (const auto& [scenario, says] : kViolations) {
    SCOPED_TRACE(scenario);
    Start(scenario);
    ExpectFailure(says);
  }
}

TEST_F(MonitorTest, DeadlinesEndWhatIsBroken) {
  const absl::Duration kLong = absl::Seconds(60);
  const absl::Duration kShort = absl::Milliseconds(200);
  Start("silent", true, {.boot = kShort, .start = kLong, .drain = kLong, .shutdown = kLong});
  ExpectFailure("did not answer within 200ms (hull run --console");
  Start("endless-output", true,
        {.boot = kLong, .start = kLong, .drain = kShort, .shutdown = kLong});
  ExpectFailure("output that does not end");
}

TEST_F(MonitorTest, KeepsTheStateOfAContainerThatIsNotToBeRemoved) {
  Start("cat", /*remove=*/false);
  Send({.type = AttachType::kStdinEnd});
  EXPECT_EQ(Finish().number, 7u);
  AwaitMonitor();
  const State state = *ParseState(
      *ReadFile(paths_.root + "/containers/" + config_.id + "/state.json", kMaxConfigBytes));
  EXPECT_EQ(state.status, Status::kExited);
  EXPECT_EQ(state.exit_status, 7);
  EXPECT_GT(state.started_unix_ms, 0);
  EXPECT_GE(state.finished_unix_ms, state.started_unix_ms);
}

TEST_F(MonitorTest, ADetachedContainerOutlivesItsClients) {
  StartDetached("cat");
  MonitorConnection starter(std::move(client_));
  EXPECT_EQ(*starter.Await(/*until_start=*/true, absl::Seconds(60)),
            MonitorConnection::Event::kStarted);
  { const MonitorConnection gone = std::move(starter); }

  // One that waits for the end, one that attaches, one that only looks in.
  MonitorConnection waiter(Connect());
  { const UniqueFd visitor = Connect(); }
  client_ = Connect();
  Send({.type = AttachType::kAttach});
  Send({.type = AttachType::kStdin, .data = "hello\n"});
  Send({.type = AttachType::kStdinEnd});
  EXPECT_EQ(Finish().number, 7u);
  EXPECT_EQ(output_[AttachType::kStandardOutput], "hello\n");
  EXPECT_EQ(credit_, 6u);
  EXPECT_EQ(*waiter.Await(/*until_start=*/false, absl::Seconds(60)),
            MonitorConnection::Event::kEnded);
  EXPECT_EQ(waiter.outcome().exit_status, 7);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, AStartThatFailsIsToldToADetachedClient) {
  StartDetached("start-failed");
  MonitorConnection starter(std::move(client_));
  EXPECT_EQ(*starter.Await(/*until_start=*/true, absl::Seconds(60)),
            MonitorConnection::Event::kEnded);
  EXPECT_EQ(starter.outcome().exit_status, 127);
  EXPECT_THAT(starter.outcome().error, HasSubstr("not found"));
  ExpectNothingLeft();
}

TEST_F(MonitorTest, SeveralClientsGetTheSameOutput) {
  StartDetached("cat");
  client_.Reset();
  UniqueFd first = Connect();
  const UniqueFd second = Connect();
  for (const int socket : {first.get(), second.get()}) {
    const std::string message = EncodeAttachFrame({.type = AttachType::kAttach});
    ASSERT_GT(send(socket, message.data(), message.size(), 0), 0);
    const std::string line = EncodeAttachFrame({.type = AttachType::kStdin, .data = "line\n"});
    // Attached is who has asked before it is said; the other asks in the next round.
    if (socket == second.get()) {
      ASSERT_GT(send(socket, line.data(), line.size(), 0), 0);
      const std::string end = EncodeAttachFrame({.type = AttachType::kStdinEnd});
      ASSERT_GT(send(socket, end.data(), end.size(), 0), 0);
    }
  }
  client_ = std::move(first);
  EXPECT_EQ(Finish().number, 7u);
  EXPECT_EQ(output_[AttachType::kStandardError], "done\n");
  EXPECT_EQ(credit_, 0u);  // it is the other's input
  output_.clear();
  client_.Reset(dup(second.get()));
  EXPECT_EQ(Finish().number, 7u);
  EXPECT_EQ(output_[AttachType::kStandardOutput], "line\n");
  EXPECT_EQ(output_[AttachType::kStandardError], "done\n");
  EXPECT_EQ(credit_, 5u);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, ASlowClientLosesItsOutputAndStopsNobody) {
  StartDetached("much");
  client_ = Connect();
  Send({.type = AttachType::kAttach});
  // The container ends although this client has not read a byte of the much it prints.
  MonitorConnection waiter(Connect());
  EXPECT_TRUE(waiter.Send({.type = AttachType::kStdinEnd}).ok());
  EXPECT_EQ(*waiter.Await(/*until_start=*/false, absl::Seconds(60)),
            MonitorConnection::Event::kEnded);
  EXPECT_EQ(waiter.outcome().exit_status, 7);
  const AttachFrame last = Finish();
  EXPECT_EQ(last.number, 7u);
  EXPECT_THAT(output_[AttachType::kNotice], HasSubstr("gets no more of it"));
  EXPECT_LT(output_[AttachType::kStandardOutput].size(), size_t{4} << 20);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, ClientsAreBounded) {
  StartDetached("stubborn");
  std::vector<UniqueFd> clients;
  for (size_t i = 0; i + 1 < kMaxClients; ++i) {  // with the one that started it
    clients.push_back(Connect());
    MonitorConnection probe(UniqueFd(dup(clients.back().get())));
    EXPECT_EQ(*probe.Await(/*until_start=*/true, absl::Seconds(60)),
              MonitorConnection::Event::kStarted);
  }
  MonitorConnection one_too_many(Connect());
  EXPECT_EQ(*one_too_many.Await(/*until_start=*/true, absl::Seconds(60)),
            MonitorConnection::Event::kEnded);
  EXPECT_THAT(one_too_many.outcome().error, HasSubstr("too many clients"));
  // One that leaves makes room, and the container does not mind.
  clients.pop_back();
  bool accepted = false;
  for (int i = 0; i < 600 && !accepted; ++i) {
    MonitorConnection next(Connect());
    accepted =
        *next.Await(/*until_start=*/true, absl::Seconds(60)) == MonitorConnection::Event::kStarted;
    if (!accepted) continue;
    EXPECT_TRUE(next.Send({.type = AttachType::kKill}).ok());
  }
  EXPECT_TRUE(accepted);
  EXPECT_EQ(Finish().number, 137u);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, ABrokenClientIsClosedAndTheContainerGoesOn) {
  StartDetached("cat");
  const UniqueFd broken = Connect();
  ASSERT_EQ(send(broken.get(), "\xff", 1, 0), 1);
  const UniqueFd liar = Connect();
  ASSERT_EQ(send(liar.get(), "\1\1", 2, 0), 2);  // a hello is the monitor's to say
  client_ = Connect();
  Send({.type = AttachType::kAttach});
  Send({.type = AttachType::kStdinEnd});
  EXPECT_EQ(Finish().number, 7u);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, AGuestThatDoesNotKillItsProcessIsKilled) {
  StartDetached("stubborn");
  const UniqueFd killer = Connect();
  MonitorConnection started(UniqueFd(dup(killer.get())));
  ASSERT_EQ(*started.Await(/*until_start=*/true, absl::Seconds(60)),
            MonitorConnection::Event::kStarted);
  EXPECT_TRUE(started.Send({.type = AttachType::kSignal, .number = SIGKILL}).ok());
  EXPECT_EQ(Finish().number, 137u);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, KeepsALogOfWhatThereIs) {
  log_max_bytes_ = kMinLogMaxBytes;
  Start("cat", /*remove=*/false);
  Send({.type = AttachType::kStdin, .data = "hello\nworld"});
  Send({.type = AttachType::kStdinEnd});
  EXPECT_EQ(Finish().number, 7u);
  AwaitMonitor();
  const std::string log = *ReadFile(LogPath(store_->StateDirectory(config_.id), 0), 1 << 20);
  EXPECT_THAT(log, HasSubstr("Z stdout F hello\n"));
  EXPECT_THAT(log, HasSubstr("Z stdout P world\n"));
  EXPECT_THAT(log, HasSubstr("Z stderr F done\n"));
}

TEST_F(MonitorTest, AContainerRunsAgain) {
  Start("cat", /*remove=*/false);
  Send({.type = AttachType::kStdinEnd});
  EXPECT_EQ(Finish().number, 7u);
  AwaitMonitor();
  for (int i = 0; i < 3; ++i) {
    absl::StatusOr<UniqueFd> lock = store_->Acquire(config_.id);
    ASSERT_TRUE(lock.ok()) << lock.status();
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->Acquire(config_.id).status()));
    Launch(*std::move(lock));
    Send({.type = AttachType::kStdinEnd});
    EXPECT_EQ(Finish().number, 7u);
    AwaitMonitor();
    EXPECT_EQ(store_->Look(config_.id)->state.status, Status::kExited);
  }
}

// What kill -9 leaves at any moment is true, and the container can be started again or is gone.
TEST_F(MonitorTest, EveryProcessMayBeKilledAtAnyMoment) {
  constexpr int kRounds = 100;
  constexpr uint32_t kSeed = 20261124;
  std::minstd_rand random(kSeed);
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(absl::StrCat("seed ", kSeed, ", round ", round));
    const bool remove = random() % 3 == 0;
    const bool kill_vmm = random() % 2 == 0;
    const bool kill_monitor = !kill_vmm || random() % 2 == 0;
    log_max_bytes_ = kMinLogMaxBytes;
    StartDetached(random() % 2 == 0 ? "yes" : "stubborn", remove);
    usleep(static_cast<useconds_t>(random() % 25000));
    const absl::StatusOr<ContainerInfo> before = store_->Look(config_.id);
    if (kill_vmm && before.ok() && before->state.vmm_pid > 0) kill(before->state.vmm_pid, SIGKILL);
    if (kill_monitor) kill(monitor_, SIGKILL);
    // Where no VMM was to be found yet, the monitor is asked; it may be gone by now.
    const std::string request = EncodeAttachFrame({.type = AttachType::kKill});
    if (!kill_monitor) send(client_.get(), request.data(), request.size(), MSG_NOSIGNAL);
    waitpid(monitor_, nullptr, 0);
    monitor_ = 0;

    absl::StatusOr<ContainerInfo> dead = store_->Look(config_.id);
    // A monitor that is killed while it makes the VMM's process leaves it a copy of the lock, which
    // is closed before the program runs.
    for (int i = 0; i < 600 && dead.ok() && dead->alive; ++i) {
      usleep(10000);
      dead = store_->Look(config_.id);
    }
    if (dead.ok()) {
      EXPECT_FALSE(dead->alive);
      EXPECT_NE(dead->state.status, Status::kRunning);
    }
    ASSERT_TRUE(store_->CollectDead().ok());
    EXPECT_NE(access(store_->RunDirectory(config_.id).c_str(), F_OK), 0);
    const absl::StatusOr<ContainerInfo> left = store_->Look(config_.id);
    EXPECT_TRUE(!remove || absl::IsNotFound(left.status()));
    if (left.ok()) {
      absl::StatusOr<UniqueFd> lock = store_->Acquire(config_.id);
      ASSERT_TRUE(lock.ok()) << lock.status();
      Launch(*std::move(lock), ClientMode::kDetached);
      ASSERT_EQ(Receive()->type, AttachType::kHello);
      ASSERT_EQ(Receive()->type, AttachType::kStarted);
      Send({.type = AttachType::kKill});
      EXPECT_EQ(Finish().number, 137u);
      AwaitMonitor();
      EXPECT_EQ(store_->Look(config_.id)->state.status, Status::kExited);
      ASSERT_TRUE(store_->Acquire(config_.id).ok());
      EXPECT_TRUE(store_->Finish(config_, /*discard=*/true).ok());
    }
    EXPECT_EQ(store_->List()->size(), 0u);
  }
}

TEST_F(MonitorTest, PausesAndGoesOn) {
  StartDetached("pausable", /*remove=*/false);
  ASSERT_EQ(Receive()->type, AttachType::kHello);
  ASSERT_EQ(Receive()->type, AttachType::kStarted);
  const auto status = [this] { return store_->Look(config_.id)->state.status; };
  const UniqueFd other = Connect();
  ASSERT_TRUE(AskToPause(other.get(), true, absl::Seconds(60)).ok());
  EXPECT_EQ(status(), Status::kPaused);
  EXPECT_GT(store_->Look(config_.id)->state.vmm_pid, 0);
  ASSERT_TRUE(AskToPause(other.get(), false, absl::Seconds(60)).ok());
  EXPECT_EQ(status(), Status::kRunning);
  // Once more than it was paused: the process of this guest ends.
  const absl::Status last = AskToPause(other.get(), false, absl::Seconds(60));
  EXPECT_TRUE(last.ok() || absl::IsFailedPrecondition(last)) << last;
  EXPECT_EQ(Finish().number, 7u);
  AwaitMonitor();
  ASSERT_TRUE(store_->Acquire(config_.id).ok());
  EXPECT_TRUE(store_->Finish(config_, /*discard=*/true).ok());
}

TEST_F(MonitorTest, AKillEndsWhatIsPaused) {
  StartDetached("pausable");
  ASSERT_EQ(Receive()->type, AttachType::kHello);
  ASSERT_EQ(Receive()->type, AttachType::kStarted);
  const UniqueFd other = Connect();
  ASSERT_TRUE(AskToPause(other.get(), true, absl::Seconds(60)).ok());
  Send({.type = AttachType::kSignal, .number = SIGKILL});
  EXPECT_EQ(Finish().number, 137u);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, WhatDoesNotRunIsNotPaused) {
  StartDetached("silent");
  const UniqueFd other = Connect();
  EXPECT_TRUE(absl::IsFailedPrecondition(AskToPause(other.get(), true, absl::Seconds(60))));
  Send({.type = AttachType::kKill});
  EXPECT_EQ(Finish().number, 137u);
  ExpectNothingLeft();
}

TEST_F(MonitorTest, AMissingFileIsNamed) {
  Start("cat", true, {}, "/no/such/image");
  ExpectFailure("/no/such/image");
}

TEST_F(MonitorTest, TheMachineDiesWithItsMonitor) {
  Start("stubborn", /*remove=*/true);
  ASSERT_EQ(Receive()->type, AttachType::kHello);
  const pid_t vmm = AwaitVmm();
  ASSERT_GT(vmm, 0);
  ASSERT_EQ(kill(vmm, 0), 0);
  kill(monitor_, SIGKILL);
  waitpid(monitor_, nullptr, 0);
  monitor_ = 0;
  EXPECT_EQ(Receive()->type, AttachType::kStarted);
  EXPECT_FALSE(Receive().has_value());
  EXPECT_TRUE(store_->CollectDead().ok());
  ExpectGone(vmm);
}

TEST_F(MonitorTest, NobodyWaitsForTheProcessOfAMachineThatIsOver) {
  Start("dawdler");
  const pid_t vmm = AwaitVmm();
  ASSERT_GT(vmm, 0);
  Send({.type = AttachType::kStdin, .data = "hello\n"});
  Send({.type = AttachType::kStdinEnd});
  const AttachFrame last = Finish();
  EXPECT_EQ(last.type, AttachType::kExited);
  EXPECT_EQ(last.number, 7u);
  EXPECT_EQ(output_[AttachType::kStandardOutput], "hello\n");
  EXPECT_EQ(output_[AttachType::kStandardError], "done\n");
  ExpectNothingLeft();
  // One that would not go by itself is not left behind.
  ExpectGone(vmm);
}

}  // namespace
}  // namespace hull::container
