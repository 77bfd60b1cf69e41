// The real agent, as PID 1 of a pid namespace instead of a machine, with a Unix socket for the
// vsock and a loop device for the virtio disk. Needs root and a kernel with EROFS and overlayfs.

#include <fcntl.h>
#include <linux/loop.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guest-agent/fd.h"
#include "guest-agent/protocol/agent.pb.h"
#include "guest-agent/protocol/framing.h"

namespace hull::agent {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience(30);
constexpr uint64_t kToken = 0x1122334455667788;
// Podman's default capabilities, as a mask.
constexpr uint64_t kPodmanCapabilities = 0x800405fb;

// A loop device over `image`; the kernel frees it when the last user is gone.
Fd AttachLoop(const std::string& image, std::string* device) {
  const Fd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  const Fd file(open(image.c_str(), O_RDONLY | O_CLOEXEC));
  for (int attempt = 0; attempt < 10 && control.valid(); ++attempt) {
    const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) break;
    *device = "/dev/loop" + std::to_string(number);
    Fd loop(open(device->c_str(), O_RDONLY | O_CLOEXEC));
    loop_config config = {};
    config.fd = static_cast<uint32_t>(file.get());
    config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
    // Another process may have been quicker.
    if (loop.valid() && ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) return loop;
  }
  return Fd();
}

void WriteText(const fs::path& path, std::string_view text, mode_t mode = 0644) {
  std::ofstream(path, std::ios::binary) << text;
  chmod(path.c_str(), mode);
}

// What a host would have seen of one container.
struct Outcome {
  std::string out;
  std::string err;
  std::vector<AgentMessage> messages;

  const AgentMessage* Find(AgentMessage::MessageCase which) const {
    for (const AgentMessage& message : messages) {
      if (message.message_case() == which) return &message;
    }
    return nullptr;
  }
  // 128 + n for a signal, -1 if it did not end by itself.
  int Status() const {
    const AgentMessage* const message = Find(AgentMessage::kExited);
    if (message == nullptr) return -1;
    const Exited& exited = message->exited();
    return exited.status_case() == Exited::kSignal ? 128 + static_cast<int>(exited.signal())
                                                   : static_cast<int>(exited.exit_code());
  }
};

class AgentTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (geteuid() != 0) return;
    std::string pattern = ::testing::TempDir() + "/hull-agent-XXXXXX";
    directory_ = new fs::path(mkdtemp(pattern.data()));
    MakeImage(*directory_ / "image");
    const std::string command = "mkfs.erofs " + (*directory_ / "root.erofs").string() + " " +
                                (*directory_ / "image").string() + " >/dev/null 2>&1";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    loop_ = new Fd(AttachLoop((*directory_ / "root.erofs").string(), &device_name_));
    ASSERT_TRUE(loop_->valid()) << "no loop device: " << std::strerror(errno);
  }

  static void TearDownTestSuite() {
    delete loop_;
    if (directory_ != nullptr) fs::remove_all(*directory_);
    delete directory_;
  }

  static void MakeImage(const fs::path& root) {
    for (const char* name : {"bin", "etc", "home/alice", "run/kept"}) {
      fs::create_directories(root / name);
    }
    fs::copy_file("/bin/busybox", root / "bin/busybox");
    for (const char* applet :
         {"sh",    "cat", "echo", "sleep", "id",     "grep",     "ls",       "env",      "dd",
          "wc",    "yes", "stat", "kill",  "reboot", "poweroff", "hostname", "ifconfig", "readlink",
          "touch", "ps",  "true", "head",  "mkdir",  "rmdir",    "stty",     "tty",      "tr"}) {
      fs::create_symlink("busybox", root / "bin" / applet);
    }
    WriteText(root / "etc/passwd",
              "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001:Alice:/home/alice:/bin/sh\n");
    WriteText(root / "etc/group", "root:x:0:\nalice:x:1001:\nwheel:x:10:alice\nfive:x:5:\n");
    fs::create_symlink("/nowhere/resolv.conf", root / "etc/resolv.conf");
    WriteText(root / "bin/not-executable", "#!/bin/sh\n");
    WriteText(root / "bin/garbage", "\x01\x02\x03\x04", 0755);
    WriteText(root / "bin/no-interpreter", "#!/bin/nothing\n", 0755);
    chmod(root.c_str(), 0711);
  }

  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    static int count = 0;
    root_ = *directory_ / ("machine" + std::to_string(count++));
    for (const char* name : {"dev", "cgroup", "image", "root", "writable"}) {
      fs::create_directories(root_ / name);
    }
    fs::copy_file("guest-agent/hull-agent", root_ / "init");
    ASSERT_EQ(mknod((root_ / "dev/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);

    container_ = start_.mutable_start_container()->mutable_container();
    process_ = start_.mutable_start_container()->mutable_process();
    container_->set_hostname("box");
    container_->mutable_root()->set_device(device_name_);
    container_->mutable_root()->set_filesystem_type("erofs");
    container_->mutable_root()->mutable_tmpfs()->set_size_bytes(64 << 20);
    process_->set_process_id(1);
    process_->set_stream_token(kToken);
    Capabilities& capabilities = *process_->mutable_capabilities();
    capabilities.set_bounding(kPodmanCapabilities);
    capabilities.set_effective(kPodmanCapabilities);
    capabilities.set_permitted(kPodmanCapabilities);

    listener_ = Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    // Through the directory's descriptor: a test's path is longer than an address may be.
    const Fd directory(open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    std::snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/host",
                  directory.get());
    ASSERT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(listen(listener_.get(), 8), 0);
    agent_ = fork();
    ASSERT_GE(agent_, 0);
    if (agent_ == 0) {
      RunAgent();
      _exit(99);
    }
  }

  // Becomes a process that waits for the agent, which is PID 1 of new namespaces, and ends as it.
  void RunAgent() {
    const std::string cgroup = "hull-agent-test-" + std::to_string(getpid());
    if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC) != 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        chdir(root_.c_str()) != 0 || mount("none", "cgroup", "cgroup2", 0, nullptr) != 0 ||
        mkdir(("cgroup/" + cgroup).c_str(), 0755) != 0) {
      return;
    }
    WriteText("cgroup/" + cgroup + "/cgroup.procs", "0");
    if (unshare(CLONE_NEWCGROUP) != 0) return;
    const pid_t child = fork();
    if (child == 0) {
      const char* const arguments[] = {"/init", "hull.channel=unix:/host", nullptr};
      const char* const environment[] = {nullptr};
      if (mount(".", ".", nullptr, MS_BIND, nullptr) != 0 || chdir(root_.c_str()) != 0 ||
          mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0 || chdir("/") != 0) {
        _exit(98);
      }
      execve("/init", const_cast<char**>(arguments), const_cast<char**>(environment));
      _exit(97);
    }
    int status = 0;
    waitpid(child, &status, 0);
    WriteText("cgroup/cgroup.procs", "0");
    rmdir(("cgroup/" + cgroup).c_str());
    // reboot(2) in a pid namespace: its PID 1 dies of SIGINT for "power off", of SIGHUP for a
    // restart.
    _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  }

  void TearDown() override {
    if (agent_ <= 0) return;
    // Whatever the test did, the agent must power its machine off once the host is gone.
    control_.Reset();
    stdio_.Reset();
    error_.Reset();
    EXPECT_EQ(WaitForAgent(), 128 + SIGINT);
  }

  int WaitForAgent() {
    const Clock::time_point end = Clock::now() + kPatience;
    int status = 0;
    while (waitpid(agent_, &status, WNOHANG) == 0) {
      if (Clock::now() > end) {
        kill(agent_, SIGKILL);
        waitpid(agent_, &status, 0);
        ADD_FAILURE() << "the agent does not end";
        break;
      }
      usleep(2000);
    }
    agent_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  // ---- The host's half of the protocol ----

  static bool WaitFor(int fd, short events) {
    pollfd waiting = {fd, events, 0};
    return poll(&waiting, 1, std::chrono::milliseconds(kPatience).count()) == 1;
  }

  Fd Accept(Hello* hello) {
    // In short turns, to notice that the agent's namespaces could not be made.
    const Clock::time_point end = Clock::now() + kPatience;
    pollfd waiting = {listener_.get(), POLLIN, 0};
    while (poll(&waiting, 1, 100) == 0) {
      siginfo_t ended = {};
      if (Clock::now() > end) return Fd();
      if (waitid(P_PID, agent_, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
          ended.si_pid == agent_) {
        ADD_FAILURE() << "the agent did not start or ended at once (status " << ended.si_status
                      << "; 97 to 99: see RunAgent)";
        return Fd();
      }
    }
    Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    uint8_t buffer[kMaxHelloBytes];
    FrameDecoder decoder(buffer);
    uint8_t byte;
    while (WaitFor(fd.get(), POLLIN) && read(fd.get(), &byte, 1) == 1) {
      std::span<const uint8_t> input(&byte, 1);
      if (decoder.Push(&input) != FrameDecoder::Event::kFrame) continue;
      if (hello->ParseFromArray(decoder.payload().data(), decoder.payload().size())) return fd;
      break;
    }
    return Fd();
  }

  void AcceptControl() {
    Hello hello;
    control_ = Accept(&hello);
    ASSERT_TRUE(control_.valid());
    EXPECT_EQ(hello.version(), static_cast<uint32_t>(PROTOCOL_VERSION));
    EXPECT_TRUE(hello.has_control());
  }

  void SendRaw(const std::string& bytes) {
    ASSERT_EQ(send(control_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }

  static std::string Frame(const HostMessage& message) {
    const std::string payload = message.SerializeAsString();
    uint8_t header[kFrameHeaderBytes];
    EncodeFrameHeader(payload.size(), header);
    return std::string(header, header + sizeof(header)) + payload;
  }

  static HostMessage Welcome(uint32_t version = PROTOCOL_VERSION) {
    HostMessage message;
    message.mutable_welcome()->set_version(version);
    return message;
  }

  static HostMessage Signal(int number) {
    HostMessage message;
    message.mutable_signal_process()->set_process_id(1);
    message.mutable_signal_process()->set_signal(number);
    return message;
  }

  // One message from the agent; nothing at the end of the connection.
  std::optional<AgentMessage> Receive() {
    uint8_t byte;
    while (WaitFor(control_.get(), POLLIN) && read(control_.get(), &byte, 1) == 1) {
      std::span<const uint8_t> input(&byte, 1);
      if (control_decoder_.Push(&input) != FrameDecoder::Event::kFrame) continue;
      AgentMessage message;
      const std::span<const uint8_t> payload = control_decoder_.payload();
      EXPECT_TRUE(message.ParseFromArray(payload.data(), payload.size()));
      return message;
    }
    return std::nullopt;
  }

  void AcceptStreams() {
    for (int i = 0; i < 2; ++i) {
      Hello hello;
      Fd fd = Accept(&hello);
      ASSERT_TRUE(fd.valid());
      const hull::agent::StreamRole& role =
          hello.has_stdio() ? hello.stdio() : hello.standard_error();
      EXPECT_EQ(role.process_id(), 1u);
      EXPECT_EQ(role.token(), kToken);
      (hello.has_stdio() ? stdio_ : error_) = std::move(fd);
    }
    ASSERT_TRUE(stdio_.valid() && error_.valid());
  }

  // ---- Further processes ----

  // A process of the host's that is not the container's first.
  struct Further {
    Fd stdio;
    Fd error;  // invalid for a terminal
    std::string out;
    std::string err;
  };

  // A request with the first process's surroundings.
  HostMessage FurtherStart(uint32_t id, std::vector<std::string> args) {
    HostMessage message;
    ProcessSpec& process = *message.mutable_start_process()->mutable_process();
    process = *process_;
    process.set_process_id(id);
    process.set_stream_token(kToken + id);
    process.clear_terminal();
    process.clear_args();
    for (std::string& arg : args) process.add_args(std::move(arg));
    return message;
  }

  // Sends the request and accepts its streams.
  Further StartFurther(const HostMessage& message) {
    SendRaw(Frame(message));
    const ProcessSpec& process = message.start_process().process();
    Further further;
    for (int i = 0; i < (process.has_terminal() ? 1 : 2); ++i) {
      Hello hello;
      Fd fd = Accept(&hello);
      const hull::agent::StreamRole& role =
          hello.has_stdio() ? hello.stdio() : hello.standard_error();
      EXPECT_EQ(role.process_id(), process.process_id());
      EXPECT_EQ(role.token(), process.stream_token());
      (hello.has_stdio() ? further.stdio : further.error) = std::move(fd);
    }
    return further;
  }

  // Reads its outputs to their end.
  static void ReadAll(Further* further) {
    for (auto [fd, to] :
         {std::pair(&further->stdio, &further->out), std::pair(&further->error, &further->err)}) {
      while (fd->valid() && WaitFor(fd->get(), POLLIN) && Take(fd->get(), to)) {
      }
    }
  }

  // The next message about process `id` of that kind; what comes before it is kept.
  std::optional<AgentMessage> Await(AgentMessage::MessageCase which, uint32_t id) {
    const auto about = [](const AgentMessage& message) -> uint32_t {
      if (message.has_started()) return message.started().process_id();
      if (message.has_start_failed()) return message.start_failed().process_id();
      if (message.has_exited()) return message.exited().process_id();
      return 0;
    };
    for (size_t i = 0;; ++i) {
      if (i == received_.size()) {
        std::optional<AgentMessage> message = Receive();
        if (!message) return std::nullopt;
        received_.push_back(*std::move(message));
      }
      if (received_[i].message_case() != which || about(received_[i]) != id) continue;
      AgentMessage found = received_[i];
      received_.erase(received_.begin() + static_cast<std::ptrdiff_t>(i));
      return found;
    }
  }

  // 128 + n for a signal, -1 if it does not end.
  int AwaitExit(uint32_t id) {
    const std::optional<AgentMessage> message = Await(AgentMessage::kExited, id);
    if (!message) return -1;
    const Exited& exited = message->exited();
    return exited.status_case() == Exited::kSignal ? 128 + static_cast<int>(exited.signal())
                                                   : static_cast<int>(exited.exit_code());
  }

  // All of the container's processes, asked for page by page.
  void ListProcesses(std::vector<hull::agent::ProcessEntry>* all) {
    all->clear();
    for (uint32_t request = 1;; ++request) {
      HostMessage question;
      question.mutable_list_processes()->set_request_id(request);
      question.mutable_list_processes()->set_after_pid(all->empty() ? 0 : all->back().pid());
      SendRaw(Frame(question));
      std::optional<AgentMessage> answer;
      while ((answer = Receive()) && !answer->has_process_list()) {
      }
      ASSERT_TRUE(answer);
      EXPECT_EQ(answer->process_list().request_id(), request);
      for (const auto& entry : answer->process_list().processes()) {
        EXPECT_TRUE(all->empty() || entry.pid() > all->back().pid());
        all->push_back(entry);
      }
      if (answer->process_list().complete()) return;
      ASSERT_GT(answer->process_list().processes_size(), 0);
    }
  }

  // Starts a container that waits to be killed.
  void StartIdle() {
    SetShell("sleep 1000 & echo ready; wait");
    Start();
    char bytes[6];
    ASSERT_EQ(recv(stdio_.get(), bytes, 6, MSG_WAITALL), 6);
  }

  // ---- Terminals ----

  void SetTerminal(uint32_t rows, uint32_t columns) {
    process_->mutable_terminal()->set_rows(rows);
    process_->mutable_terminal()->set_columns(columns);
    process_->set_attach_stdin(true);
  }

  void StartWithTerminal() {
    AcceptControl();
    SendRaw(Frame(Welcome()) + Frame(start_));
    Hello hello;
    stdio_ = Accept(&hello);
    ASSERT_TRUE(stdio_.valid() && hello.has_stdio());
  }

  // Reads what a terminal shows up to and with `text`.
  static std::string ReadUntil(int fd, std::string_view text) {
    std::string shown;
    char byte;
    while (!shown.ends_with(text) && WaitFor(fd, POLLIN) && read(fd, &byte, 1) == 1) shown += byte;
    return shown;
  }

  void Type(const std::string& bytes) {
    ASSERT_EQ(send(stdio_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }

  void SetCommand(std::vector<std::string> args) {
    process_->clear_args();
    for (std::string& arg : args) process_->add_args(std::move(arg));
  }
  void SetShell(const std::string& script) { SetCommand({"sh", "-c", script}); }

  // Sends the request and opens the streams.
  void Start() {
    AcceptControl();
    SendRaw(Frame(Welcome()) + Frame(start_));
    AcceptStreams();
  }

  // Carries bytes until both outputs are at their end, then reads messages to the last.
  Outcome Finish(std::string input = "") {
    Outcome outcome;
    if (input.empty()) shutdown(stdio_.get(), SHUT_WR);
    const Clock::time_point end = Clock::now() + kPatience;
    bool out_open = true;
    bool err_open = true;
    while ((out_open || err_open) && Clock::now() < end) {
      pollfd fds[2] = {{out_open ? stdio_.get() : -1,
                        static_cast<short>(input.empty() ? POLLIN : POLLIN | POLLOUT), 0},
                       {err_open ? error_.get() : -1, POLLIN, 0}};
      poll(fds, 2, 1000);
      if ((fds[0].revents & POLLOUT) != 0 && !input.empty()) {
        const ssize_t n =
            send(stdio_.get(), input.data(), input.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) input.erase(0, static_cast<size_t>(n));
        if (n < 0 && errno != EAGAIN) input.clear();
        if (input.empty()) shutdown(stdio_.get(), SHUT_WR);
      }
      if ((fds[0].revents & (POLLIN | POLLHUP)) != 0) out_open = Take(stdio_.get(), &outcome.out);
      if ((fds[1].revents & (POLLIN | POLLHUP)) != 0) err_open = Take(error_.get(), &outcome.err);
    }
    EXPECT_FALSE(out_open) << "standard output did not end";
    EXPECT_FALSE(err_open) << "standard error did not end";
    ReceiveToTheEnd(&outcome);
    return outcome;
  }

  void ReceiveToTheEnd(Outcome* outcome) {
    while (std::optional<AgentMessage> message = Receive()) {
      outcome->messages.push_back(*message);
      if (message->has_exited() || message->has_start_failed()) break;
    }
  }

  Outcome Run(std::string input = "") {
    Start();
    return HasFatalFailure() ? Outcome() : Finish(std::move(input));
  }

  // For a command that cannot be started.
  StartFailed RunToFailure() {
    AcceptControl();
    SendRaw(Frame(Welcome()) + Frame(start_));
    Outcome outcome;
    ReceiveToTheEnd(&outcome);
    const AgentMessage* const failed = outcome.Find(AgentMessage::kStartFailed);
    EXPECT_NE(failed, nullptr);
    EXPECT_EQ(outcome.Find(AgentMessage::kStarted), nullptr);
    return failed == nullptr ? StartFailed() : failed->start_failed();
  }

  static bool Take(int fd, std::string* to) {
    char bytes[65536];
    const ssize_t n = read(fd, bytes, sizeof(bytes));
    if (n > 0) to->append(bytes, static_cast<size_t>(n));
    return n > 0;
  }

  static fs::path* directory_;
  static Fd* loop_;
  static std::string device_name_;

  fs::path root_;
  pid_t agent_ = -1;
  Fd listener_;
  Fd control_;
  uint8_t control_buffer_[kMaxAgentMessageBytes];
  FrameDecoder control_decoder_{control_buffer_};
  Fd stdio_;
  Fd error_;
  std::vector<AgentMessage> received_;
  HostMessage start_;
  ContainerSpec* container_ = nullptr;
  ProcessSpec* process_ = nullptr;
};

fs::path* AgentTest::directory_ = nullptr;
Fd* AgentTest::loop_ = nullptr;
std::string AgentTest::device_name_;

// ---- Streams and status ----

TEST_F(AgentTest, KeepsTheOutputsApartAndReportsTheStatus) {
  SetShell("echo out; echo err >&2; exit 7");
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.out, "out\n");
  EXPECT_EQ(outcome.err, "err\n");
  EXPECT_EQ(outcome.Status(), 7);
  ASSERT_EQ(outcome.messages.size(), 2u);
  EXPECT_GT(outcome.messages[0].started().pid(), 0u);
}

TEST_F(AgentTest, StandardInputEndsWhereTheHostEndsIt) {
  process_->set_attach_stdin(true);
  SetCommand({"cat"});
  EXPECT_EQ(Run("hello\nworld").out, "hello\nworld");
}

TEST_F(AgentTest, WithoutStandardInputTheProcessReadsNothing) {
  SetShell("cat; readlink /proc/self/fd/0");
  EXPECT_EQ(Run("ignored").out, "/dev/null\n");
}

TEST_F(AgentTest, CarriesMuchInBothDirections) {
  process_->set_attach_stdin(true);
  std::string input(8 << 20, '\0');
  for (size_t i = 0; i < input.size(); ++i) input[i] = static_cast<char>(i * 2654435761u >> 24);
  SetCommand({"cat"});
  const Outcome outcome = Run(input);
  EXPECT_TRUE(outcome.out == input) << outcome.out.size();
  EXPECT_EQ(outcome.Status(), 0);
}

TEST_F(AgentTest, AProcessThatIgnoresItsInputEnds) {
  process_->set_attach_stdin(true);
  SetCommand({"head", "-c", "3"});
  const Outcome outcome = Run(std::string(4 << 20, 'x'));
  EXPECT_EQ(outcome.out, "xxx");
  EXPECT_EQ(outcome.Status(), 0);
}

TEST_F(AgentTest, AWriterWhoseReaderIsGoneGetsSigpipe) {
  SetShell("yes; echo $? >&2");
  Start();
  char byte;
  ASSERT_EQ(read(stdio_.get(), &byte, 1), 1);
  stdio_.Reset();
  std::string err;
  while (Take(error_.get(), &err)) {
  }
  EXPECT_EQ(err, "141\n");
}

TEST_F(AgentTest, ADescendantThatKeepsTheOutputDoesNotDelayTheEnd) {
  SetShell("sleep 1000 & echo hi");
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.out, "hi\n");
  EXPECT_EQ(outcome.Status(), 0);
}

TEST_F(AgentTest, OutputCanBeOpenedByName) {
  process_->set_user("alice");
  SetShell("echo out > /dev/stdout; echo err > /dev/stderr; ls /proc/self/fd");
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.out, "out\n0\n1\n2\n3\n") << "3 is that of ls itself";
  EXPECT_EQ(outcome.err, "err\n");
}

TEST_F(AgentTest, NoSignalIsIgnoredOrBlocked) {
  // Signals 32 and 33 belong to the C library, and to whoever runs this test.
  SetCommand({"grep", "-E", "^Sig(Blk:.0000000000000000|Ign:.[0-9a-f]{8}[08]0000000)$",
              "/proc/self/status"});
  EXPECT_EQ(std::ranges::count(Run().out, '\n'), 2);
}

// ---- Signals ----

TEST_F(AgentTest, SignalsReachTheProcess) {
  SetShell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done");
  Start();
  char bytes[6];
  ASSERT_EQ(recv(stdio_.get(), bytes, 6, MSG_WAITALL), 6);
  SendRaw(Frame(Signal(SIGTERM)));
  EXPECT_EQ(Finish().Status(), 3);
}

TEST_F(AgentTest, DeathBySignalIsReportedAsThat) {
  SetCommand({"sleep", "1000"});
  Start();
  SendRaw(Frame(Signal(SIGKILL)));
  EXPECT_EQ(Finish().Status(), 128 + SIGKILL);
}

TEST_F(AgentTest, SurvivesAContainerThatKillsAllItSees) {
  SetShell("sleep 1000 & kill -9 -1; kill -9 1; ps | grep -c [i]nit; echo alive");
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.Status(), 0);
  EXPECT_EQ(outcome.out, "0\nalive\n");
}

TEST_F(AgentTest, PowerOffAndRebootEndOnlyTheContainer) {
  const uint64_t with_boot = kPodmanCapabilities | uint64_t{1} << 22;
  process_->mutable_capabilities()->set_bounding(with_boot);
  process_->mutable_capabilities()->set_effective(with_boot);
  process_->mutable_capabilities()->set_permitted(with_boot);
  SetShell("reboot -f; sleep 1000");
  EXPECT_EQ(Run().Status(), 128 + SIGHUP);
}

// ---- What cannot be started ----

struct BadCommand {
  std::vector<std::string> args;
  StartFailed::Kind kind;
  std::string message;
};

class BadCommandTest : public AgentTest, public ::testing::WithParamInterface<BadCommand> {};

TEST_P(BadCommandTest, IsExplained) {
  SetCommand(GetParam().args);
  const StartFailed failed = RunToFailure();
  EXPECT_EQ(failed.kind(), GetParam().kind);
  EXPECT_EQ(failed.message(), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    AgentTest, BadCommandTest,
    ::testing::Values(
        BadCommand{
            {"foo"}, StartFailed::NOT_FOUND, "exec: \"foo\": executable file not found in $PATH"},
        BadCommand{{"/bin/foo"},
                   StartFailed::NOT_FOUND,
                   "exec: \"/bin/foo\": stat /bin/foo: No such file or directory"},
        BadCommand{{"no-interpreter"},
                   StartFailed::NOT_FOUND,
                   "exec: \"/bin/no-interpreter\": its interpreter or dynamic linker is not in the "
                   "image"},
        BadCommand{{"not-executable"},
                   StartFailed::NOT_EXECUTABLE,
                   "exec: \"/bin/not-executable\": Permission denied"},
        BadCommand{{"/bin"}, StartFailed::NOT_EXECUTABLE, "exec: \"/bin\": Is a directory"},
        BadCommand{{"garbage"},
                   StartFailed::NOT_EXECUTABLE,
                   "exec: \"/bin/garbage\": Exec format error"}));

TEST_F(AgentTest, AnUnknownUserIsExplained) {
  process_->set_user("bob");
  SetCommand({"true"});
  const StartFailed failed = RunToFailure();
  EXPECT_EQ(failed.kind(), StartFailed::INVALID_SPEC);
  EXPECT_EQ(failed.message(), "unable to find user bob: no matching entries in passwd file");
}

TEST_F(AgentTest, AWorkingDirectoryThatIsAFileIsExplained) {
  process_->set_working_directory("/etc/passwd/x");
  SetCommand({"true"});
  const StartFailed failed = RunToFailure();
  EXPECT_EQ(failed.kind(), StartFailed::INVALID_SPEC);
  EXPECT_THAT(failed.message(), HasSubstr("/etc/passwd"));
}

TEST_F(AgentTest, AMissingImageIsTheMachinesFault) {
  container_->mutable_root()->set_device("/dev/nosuchdisk");
  SetCommand({"true"});
  const StartFailed failed = RunToFailure();
  EXPECT_EQ(failed.kind(), StartFailed::INTERNAL);
  EXPECT_EQ(failed.message(),
            "cannot mount the image, erofs on /dev/nosuchdisk: No such file or directory");
}

// ---- The process's surroundings ----

TEST_F(AgentTest, DefaultsOfTheProcess) {
  SetShell("pwd; umask; echo $PATH $HOME; hostname; id; echo $$; stat -c %a /");
  EXPECT_EQ(Run().out,
            "/\n0022\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /root\nbox\n"
            "uid=0(root) gid=0(root) groups=0(root)\n1\n711\n");
}

TEST_F(AgentTest, UserDirectoryUmaskAndLimits) {
  process_->set_user("alice");
  process_->add_additional_gids(5);
  process_->set_working_directory("/new/dir");
  process_->set_umask(077);
  process_->add_environment("A=1 2");
  Rlimit& limit = *process_->add_rlimits();
  limit.set_resource(RLIMIT_NOFILE);
  limit.set_soft(100);
  limit.set_hard(200);
  SetShell("pwd; umask; echo $A $HOME; id; ulimit -Sn; ulimit -Hn");
  EXPECT_EQ(Run().out,
            "/new/dir\n0077\n1 2 /home/alice\nuid=1000(alice) gid=1001(alice) "
            "groups=5(five),10(wheel),1001(alice)\n100\n200\n");
}

TEST_F(AgentTest, Capabilities) {
  process_->set_no_new_privileges(true);
  SetCommand({"grep", "-E", "^(Cap|NoNewPrivs)", "/proc/self/status"});
  EXPECT_EQ(Run().out,
            "CapInh:\t0000000000000000\nCapPrm:\t00000000800405fb\nCapEff:\t00000000800405fb\n"
            "CapBnd:\t00000000800405fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n");
}

TEST_F(AgentTest, AmbientCapabilitiesOfAUser) {
  process_->set_user("alice");
  const uint64_t net_bind = 1 << 10;
  process_->mutable_capabilities()->set_inheritable(net_bind);
  process_->mutable_capabilities()->set_ambient(net_bind);
  SetCommand({"grep", "CapEff", "/proc/self/status"});
  EXPECT_EQ(Run().out, "CapEff:\t0000000000000400\n");
}

TEST_F(AgentTest, MountsAndDevices) {
  SetShell(
      "while read -r _ at type _; do echo $at $type; done < /proc/self/mounts;"
      "cd /dev; stat -c '%A %t:%T %N' *; : < null; : < zero; : < urandom; : < ptmx;"
      "grep ^0 /proc/self/cgroup; cd /sys/fs/cgroup; ls cgroup.procs; mkdir mine; rmdir mine;"
      "echo 1 > /new; echo 2 > /dev/shm/new; ls /sys/class/net; ifconfig lo | grep -o 127.0.0.1");
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(outcome.out,
            "/ overlay\n/proc proc\n/dev tmpfs\n/dev/pts devpts\n/dev/mqueue mqueue\n"
            "/dev/shm tmpfs\n/sys sysfs\n/sys/fs/cgroup cgroup2\n"
            "lrwxrwxrwx 0:0 'core' -> '/proc/kcore'\n"
            "lrwxrwxrwx 0:0 'fd' -> '/proc/self/fd'\n"
            "crw-rw-rw- 1:7 full\n"
            "drwxrwxrwt 0:0 mqueue\n"
            "crw-rw-rw- 1:3 null\n"
            "lrwxrwxrwx 0:0 'ptmx' -> 'pts/ptmx'\n"
            "drwxr-xr-x 0:0 pts\n"
            "crw-rw-rw- 1:8 random\n"
            "drwxrwxrwt 0:0 shm\n"
            "lrwxrwxrwx 0:0 'stderr' -> '/proc/self/fd/2'\n"
            "lrwxrwxrwx 0:0 'stdin' -> '/proc/self/fd/0'\n"
            "lrwxrwxrwx 0:0 'stdout' -> '/proc/self/fd/1'\n"
            "crw-rw-rw- 5:0 tty\n"
            "crw-rw-rw- 1:9 urandom\n"
            "crw-rw-rw- 1:5 zero\n"
            "0::/\ncgroup.procs\nlo\n127.0.0.1\n");
}

TEST_F(AgentTest, FilesOfTheHost) {
  for (const char* path : {"/etc/hosts", "/etc/resolv.conf", "/a/b/c"}) {
    File& file = *container_->add_files();
    file.set_path(path);
    file.set_content(std::string("for ") + path + "\n");
    file.set_mode(0640);
  }
  SetShell("cat /etc/hosts /etc/resolv.conf /a/b/c; stat -c %a /etc/hosts /a/b/c");
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.out, "for /etc/hosts\nfor /etc/resolv.conf\nfor /a/b/c\n640\n640\n");
  EXPECT_EQ(outcome.err, "");
}

TEST_F(AgentTest, ReadOnlyRoot) {
  container_->mutable_root()->set_read_only(true);
  SetShell(
      "touch /x /etc/x; for d in /run /tmp /var/tmp /dev/shm; do touch $d/x && echo $d; done;"
      "ls -d /run/kept; stat -c %a /tmp");
  const Outcome outcome = Run();
  EXPECT_EQ(outcome.out, "/run\n/tmp\n/var/tmp\n/dev/shm\n/run/kept\n1777\n");
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("/x: Read-only"), HasSubstr("/etc/x: Read-only")));
}

TEST_F(AgentTest, TheWritableLayerIsBounded) {
  container_->mutable_root()->mutable_tmpfs()->set_size_bytes(1 << 20);
  SetShell("dd if=/dev/zero of=/big bs=64k count=64 2>&1 | grep -o 'No space.*'");
  EXPECT_EQ(Run().out, "No space left on device\n");
}

// ---- Further processes ----

TEST_F(AgentTest, AFurtherProcessIsInTheContainer) {
  StartIdle();
  Further further = StartFurther(FurtherStart(
      2, {"sh", "-c",
          "for n in pid mnt net uts ipc cgroup; do"
          "  [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo other $n; done;"
          "hostname; echo here > /new; grep -c ready /proc/1/cmdline; echo err >&2; [ $$ != 1 ]; "
          "exit 5"}));
  ReadAll(&further);
  EXPECT_EQ(further.out, "box\n1\n");
  EXPECT_EQ(further.err, "err\n");
  EXPECT_GT(Await(AgentMessage::kStarted, 2)->started().pid(), 0u);
  EXPECT_EQ(AwaitExit(2), 5);
  // The number may be used again, and what the first wrote is there.
  Further again = StartFurther(FurtherStart(2, {"cat", "/new"}));
  ReadAll(&again);
  EXPECT_EQ(again.out, "here\n");
  EXPECT_EQ(AwaitExit(2), 0);
}

TEST_F(AgentTest, AFurtherProcessHasItsOwnSurroundings) {
  StartIdle();
  HostMessage message = FurtherStart(
      2, {"sh", "-c",
          "pwd; umask; echo $A $HOME; id; ulimit -Sn; cat; grep -E '^(CapEff|Sig(Blk|Ign))'"
          " /proc/self/status | tr '\\n\\t' '  '"});
  ProcessSpec& process = *message.mutable_start_process()->mutable_process();
  process.set_user("alice");
  process.set_working_directory("/etc");
  process.set_umask(027);
  process.set_attach_stdin(true);
  process.add_environment("A=1 2");
  Rlimit& limit = *process.add_rlimits();
  limit.set_resource(RLIMIT_NOFILE);
  limit.set_soft(100);
  limit.set_hard(200);
  Further further = StartFurther(message);
  ASSERT_EQ(send(further.stdio.get(), "typed\n", 6, MSG_NOSIGNAL), 6);
  shutdown(further.stdio.get(), SHUT_WR);
  ReadAll(&further);
  EXPECT_EQ(further.err, "");
  EXPECT_THAT(further.out,
              StartsWith("/etc\n0027\n1 2 /home/alice\nuid=1000(alice) gid=1001(alice) "
                         "groups=10(wheel),1001(alice)\n100\ntyped\nSigBlk: 0000000000000000 "));
  EXPECT_THAT(further.out, HasSubstr("CapEff: 0000000000000000 "));
  EXPECT_EQ(AwaitExit(2), 0);
}

TEST_F(AgentTest, AFurtherProcessThatCannotStartIsExplained) {
  StartIdle();
  const auto failure = [this](HostMessage message) {
    SendRaw(Frame(message));
    const std::optional<AgentMessage> failed = Await(AgentMessage::kStartFailed, 2);
    return failed ? failed->start_failed() : StartFailed();
  };
  EXPECT_EQ(failure(FurtherStart(2, {"foo"})).kind(), StartFailed::NOT_FOUND);
  EXPECT_EQ(failure(FurtherStart(2, {"not-executable"})).kind(), StartFailed::NOT_EXECUTABLE);
  HostMessage message = FurtherStart(2, {"true"});
  message.mutable_start_process()->mutable_process()->set_user("bob");
  EXPECT_EQ(failure(message).message(),
            "unable to find user bob: no matching entries in passwd file");
  message = FurtherStart(2, {"true"});
  message.mutable_start_process()->mutable_process()->set_working_directory("/missing");
  EXPECT_EQ(failure(message).message(),
            "cannot change to directory /missing: No such file or directory");
}

TEST_F(AgentTest, ManyFurtherProcessesAtOnceAndNoMore) {
  StartIdle();
  std::map<uint32_t, Further> all;
  for (uint32_t id = 2; id < 2 + 64; ++id) {
    HostMessage message = FurtherStart(
        id, {"sh", "-c", "cat; echo " + std::to_string(id) + "; exit " + std::to_string(id)});
    message.mutable_start_process()->mutable_process()->set_attach_stdin(true);
    all[id] = StartFurther(message);
    ASSERT_TRUE(Await(AgentMessage::kStarted, id));
  }
  SendRaw(Frame(FurtherStart(1000, {"true"})));
  EXPECT_EQ(Await(AgentMessage::kStartFailed, 1000)->start_failed().message(),
            "the container runs 64 further processes already");
  for (auto& [id, further] : all) shutdown(further.stdio.get(), SHUT_WR);
  for (auto& [id, further] : all) {
    ReadAll(&further);
    EXPECT_EQ(further.out, std::to_string(id) + "\n");
    EXPECT_EQ(AwaitExit(id), static_cast<int>(id));
  }
}

TEST_F(AgentTest, AFurtherProcessEndsWithTheContainer) {
  StartIdle();
  Further further = StartFurther(FurtherStart(2, {"sh", "-c", "echo x; sleep 1000; echo y"}));
  Further unread = StartFurther(FurtherStart(3, {"yes"}));
  ASSERT_TRUE(Await(AgentMessage::kStarted, 3));
  EXPECT_EQ(ReadUntil(further.stdio.get(), "\n"), "x\n");
  SendRaw(Frame(Signal(SIGKILL)));
  ReadAll(&further);
  EXPECT_EQ(further.out, "");
  std::vector<uint32_t> ended;
  while (ended.empty() || ended.back() != 1) {
    const std::optional<AgentMessage> message = Receive();
    ASSERT_TRUE(message);
    if (!message->has_exited()) continue;
    ended.push_back(message->exited().process_id());
    EXPECT_EQ(message->exited().signal(), static_cast<uint32_t>(SIGKILL));
  }
  EXPECT_THAT(ended, UnorderedElementsAre(2, 3, 1)) << "the container's own comes last";
  SendRaw(Frame(FurtherStart(9, {"true"})));
  EXPECT_EQ(Await(AgentMessage::kStartFailed, 9)->start_failed().message(),
            "the container is not running");
}

TEST_F(AgentTest, ADescendantThatKeepsTheOutputDoesNotDelayTheEndOfAFurtherProcess) {
  StartIdle();
  Further further =
      StartFurther(FurtherStart(2, {"sh", "-c", "yes out & sleep 1000 & echo hi >&2; exit 4"}));
  ReadAll(&further);
  EXPECT_EQ(further.err, "hi\n");
  EXPECT_EQ(AwaitExit(2), 4);
}

TEST_F(AgentTest, SignalsReachAFurtherProcess) {
  StartIdle();
  Further further = StartFurther(FurtherStart(2, {"sleep", "1000"}));
  HostMessage message = Signal(SIGTERM);
  message.mutable_signal_process()->set_process_id(2);
  SendRaw(Frame(message));
  EXPECT_EQ(AwaitExit(2), 128 + SIGTERM);
}

TEST_F(AgentTest, DiscardedOutputHasNoConnection) {
  StartIdle();
  HostMessage message = FurtherStart(2, {"sh", "-c", "readlink /proc/self/fd/1 > /told; exit 3"});
  message.mutable_start_process()->mutable_process()->set_discard_output(true);
  SendRaw(Frame(message));
  EXPECT_EQ(AwaitExit(2), 3);
  message = FurtherStart(3, {"sh", "-c", "tty > /told; dd if=/dev/zero bs=1k count=99; stty size"});
  message.mutable_start_process()->mutable_process()->set_discard_output(true);
  message.mutable_start_process()->mutable_process()->mutable_terminal();
  SendRaw(Frame(message));
  EXPECT_EQ(AwaitExit(3), 0);
  Further further = StartFurther(FurtherStart(4, {"cat", "/told"}));
  ReadAll(&further);
  EXPECT_EQ(further.out, "/dev/pts/0\n");
}

TEST_F(AgentTest, ShutdownEndsFurtherProcessesToo) {
  StartIdle();
  Further further = StartFurther(FurtherStart(2, {"sleep", "1000"}));
  ASSERT_TRUE(Await(AgentMessage::kStarted, 2));
  HostMessage message;
  message.mutable_shutdown();
  SendRaw(Frame(message));
  EXPECT_EQ(WaitForAgent(), 128 + SIGINT);
}

// ---- Terminals ----

TEST_F(AgentTest, ATerminalIsTheProcesssOwn) {
  SetTerminal(33, 111);
  process_->set_user("alice");
  SetShell(
      "stty size; tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all; echo err >&2;"
      "stat -c '%U %g %a' /dev/pts/0; echo console > /dev/console; echo own > /dev/tty; exit 6");
  StartWithTerminal();
  const std::string shown = ReadUntil(stdio_.get(), "own\r\n");
  EXPECT_EQ(shown, "33 111\r\n/dev/pts/0\r\nall\r\nerr\r\nalice 5 620\r\nconsole\r\nown\r\n");
  EXPECT_EQ(AwaitExit(1), 6);
  std::string rest;
  EXPECT_FALSE(Take(stdio_.get(), &rest)) << "it ends with its process";
}

TEST_F(AgentTest, WhatIsTypedReachesTheTerminal) {
  SetTerminal(24, 80);
  SetShell("stty -echo; echo ready; read line; echo got $line; cat; echo over");
  StartWithTerminal();
  EXPECT_EQ(ReadUntil(stdio_.get(), "ready\r\n"), "ready\r\n");
  Type("a line\r");
  EXPECT_EQ(ReadUntil(stdio_.get(), "\n"), "got a line\r\n");
  Type("\x04");  // Ctrl-D
  EXPECT_EQ(ReadUntil(stdio_.get(), "\n"), "over\r\n");
  EXPECT_EQ(AwaitExit(1), 0);
}

TEST_F(AgentTest, ControlCIsASignal) {
  SetTerminal(24, 80);
  SetShell(
      "stty -echo; trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.01; done");
  StartWithTerminal();
  ReadUntil(stdio_.get(), "ready\r\n");
  Type("\x03");
  EXPECT_EQ(ReadUntil(stdio_.get(), "interrupted\r\n"), "interrupted\r\n");
  EXPECT_EQ(AwaitExit(1), 9);
}

TEST_F(AgentTest, AResizeIsASignalAndANewSize) {
  SetTerminal(24, 80);
  SetShell("trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.01; done");
  StartWithTerminal();
  ReadUntil(stdio_.get(), "ready\r\n");
  HostMessage message;
  message.mutable_resize_terminal()->set_process_id(1);
  message.mutable_resize_terminal()->mutable_size()->set_rows(50);
  message.mutable_resize_terminal()->mutable_size()->set_columns(132);
  SendRaw(Frame(message));
  EXPECT_EQ(ReadUntil(stdio_.get(), "\n"), "50 132\r\n");
  EXPECT_EQ(AwaitExit(1), 0);
}

TEST_F(AgentTest, AllThatATerminalShowedIsPassedOnBeforeTheEnd) {
  SetTerminal(24, 80);
  SetShell("i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done");
  StartWithTerminal();
  const std::string shown = ReadUntil(stdio_.get(), "19999\r\n");
  EXPECT_EQ(std::ranges::count(shown, '\n'), 20000);
  EXPECT_EQ(AwaitExit(1), 0);
}

TEST_F(AgentTest, AHostThatClosesHangsTheTerminalUp) {
  StartIdle();
  HostMessage message =
      FurtherStart(2, {"sh", "-c", "trap 'exit 8' HUP; echo ready; while :; do sleep 0.01; done"});
  ProcessSpec& process = *message.mutable_start_process()->mutable_process();
  process.mutable_terminal()->set_rows(24);
  process.set_attach_stdin(true);
  Further further = StartFurther(message);
  ReadUntil(further.stdio.get(), "ready\r\n");
  further.stdio.Reset();
  EXPECT_EQ(AwaitExit(2), 8);
}

TEST_F(AgentTest, AFurtherProcessMayHaveATerminalOfItsOwn) {
  SetTerminal(24, 80);
  SetShell("echo ready; while :; do sleep 1000; done");
  StartWithTerminal();
  ReadUntil(stdio_.get(), "ready\r\n");
  HostMessage message = FurtherStart(
      2, {"sh", "-c", "stty size; tty; (sleep 1000 &) ; (while :; do echo more; done &); exit 5"});
  message.mutable_start_process()->mutable_process()->mutable_terminal()->set_rows(7);
  message.mutable_start_process()->mutable_process()->mutable_terminal()->set_columns(9);
  Further further = StartFurther(message);
  ReadAll(&further);
  EXPECT_EQ(AwaitExit(2), 5) << "whoever else has its terminal";
  EXPECT_THAT(further.out, StartsWith("7 9\r\n/dev/pts/1\r\n"));
}

// ---- What the host asks ----

TEST_F(AgentTest, ListsTheContainersProcesses) {
  StartIdle();
  Further further = StartFurther(FurtherStart(
      2,
      {"sh", "-c", "i=0; while [ $i -lt 30 ]; do sleep 1000 & i=$((i+1)); done; echo ready; cat"}));
  ReadUntil(further.stdio.get(), "ready\n");
  HostMessage message = FurtherStart(3, {"sh", "-c", "echo ready; cat 'x y' - \"$0\"", "\n)"});
  message.mutable_start_process()->mutable_process()->set_user("alice");
  message.mutable_start_process()->mutable_process()->mutable_terminal();
  Further alice = StartFurther(message);
  ReadUntil(alice.stdio.get(), "ready\r\n");

  // A process that was only just forked still has its parent's arguments.
  const auto sleeps = [](const std::vector<hull::agent::ProcessEntry>& entries) {
    return std::ranges::count(entries, "sleep 1000", &hull::agent::ProcessEntry::command);
  };
  std::vector<hull::agent::ProcessEntry> all;
  for (const Clock::time_point end = Clock::now() + kPatience;
       sleeps(all) != 31 && Clock::now() < end;) {
    ListProcesses(&all);
  }
  EXPECT_EQ(sleeps(all), 31);
  EXPECT_EQ(all[0].pid(), 1u);
  EXPECT_EQ(all[0].parent_pid(), 0u);
  EXPECT_THAT(all[0].command(), StartsWith("sh -c sleep 1000 & echo ready"));
  EXPECT_EQ(all[0].user(), "root");
  EXPECT_EQ(all[0].state(), static_cast<uint32_t>('S'));
  EXPECT_EQ(all[1].parent_pid(), 1u);
  const auto own = std::ranges::find(all, 1000u, &hull::agent::ProcessEntry::uid);
  ASSERT_NE(own, all.end());
  EXPECT_EQ(own->user(), "alice");
  EXPECT_EQ(own->parent_pid(), 0u);
  EXPECT_NE(own->terminal(), 0u);
}

TEST_F(AgentTest, Statistics) {
  StartIdle();
  HostMessage question;
  question.mutable_get_statistics()->set_request_id(7);
  SendRaw(Frame(question));
  std::optional<AgentMessage> answer;
  while ((answer = Receive()) && !answer->has_statistics()) {
  }
  ASSERT_TRUE(answer);
  const auto& statistics = answer->statistics();
  EXPECT_EQ(statistics.request_id(), 7u);
  EXPECT_GT(statistics.memory_total_bytes(), statistics.memory_available_bytes());
  EXPECT_GT(statistics.memory_available_bytes(), 0u);
  EXPECT_GE(statistics.cpus(), 1u);
  EXPECT_GT(statistics.cpu_busy_ms(), 0u);
  EXPECT_GT(statistics.uptime_ms(), 0u);
  EXPECT_EQ(statistics.processes(), 2u) << "a shell and its sleep";
  EXPECT_EQ(statistics.threads(), 2u);
}

// ---- A host that misbehaves or goes away ----

TEST_F(AgentTest, AnotherVersionIsRefused) {
  AcceptControl();
  SendRaw(Frame(Welcome(2)));
  const std::optional<AgentMessage> message = Receive();
  ASSERT_TRUE(message && message->has_fatal());
  EXPECT_THAT(message->fatal().message(), AllOf(HasSubstr("version 2"), HasSubstr("speaks 1")));
  EXPECT_FALSE(Receive());
}

class ViolationTest : public AgentTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(ViolationTest, IsNamedAndEndsTheMachine) {
  const std::string what = GetParam();
  SetCommand({"sleep", "1000"});
  AcceptControl();
  if (what == "did not begin with Welcome") SendRaw(Frame(start_));
  if (what == "longer than") SendRaw("\xff\xff\xff\x7f");
  if (what == "does not decode") SendRaw(Frame(Welcome()) + std::string("\x01\x00\x00\x00\xff", 5));
  if (what == "StartContainer twice") {
    SendRaw(Frame(Welcome()) + Frame(start_));
    AcceptStreams();
    EXPECT_TRUE(Receive()->has_started());
    SendRaw(Frame(start_));
  }
  if (what == "id of another process") {
    SendRaw(Frame(Welcome()) + Frame(start_));
    AcceptStreams();
    EXPECT_TRUE(Receive()->has_started());
    SendRaw(Frame(FurtherStart(1, {"true"})));
  }
  const std::optional<AgentMessage> message = Receive();
  ASSERT_TRUE(message && message->has_fatal());
  EXPECT_THAT(message->fatal().message(), HasSubstr(what));
  control_.Reset();
  EXPECT_EQ(WaitForAgent(), 128 + SIGINT);
}

INSTANTIATE_TEST_SUITE_P(AgentTest, ViolationTest,
                         ::testing::Values("did not begin with Welcome", "longer than",
                                           "does not decode", "StartContainer twice",
                                           "id of another process"));

TEST_F(AgentTest, ShutdownEndsARunningContainer) {
  SetCommand({"sleep", "1000"});
  Start();
  HostMessage shutdown_message;
  shutdown_message.mutable_shutdown();
  SendRaw(Frame(shutdown_message));
  EXPECT_EQ(WaitForAgent(), 128 + SIGINT);
}

TEST_F(AgentTest, WaitsForShutdownAfterTheExit) {
  SetCommand({"true"});
  EXPECT_EQ(Run().Status(), 0);
  usleep(200 * 1000);
  EXPECT_EQ(waitpid(agent_, nullptr, WNOHANG), 0);
  HostMessage shutdown_message;
  shutdown_message.mutable_shutdown();
  SendRaw(Frame(shutdown_message));
  EXPECT_EQ(WaitForAgent(), 128 + SIGINT);
}

}  // namespace
}  // namespace hull::agent
