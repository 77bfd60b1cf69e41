// Stands in for hull-vmm and its guest in the monitor's tests: connects to the monitor as the agent
// does, and then does what its scenario says, whose name is in the file that it gets as the kernel.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "guest-agent/protocol/agent.pb.h"
#include "guest-agent/protocol/framing.h"
#include "vmm/base/file_io.h"
#include "vmm/base/unique_fd.h"
#include "vmm/machine/pause_protocol.h"
#include "vmm/machine/spec.h"
#include "vmm/sandbox/broker.h"

namespace hull::container {
namespace {

// The exit status that a test sees if the exchange is not as this fake expects.
[[noreturn]] void Unexpected(const char* what) {
  dprintf(STDERR_FILENO, "fake_vmm: %s\n", what);
  _exit(70);
}

// A file that holds less than this.
std::string ReadAll(int fd) {
  uint8_t bytes[16384];
  return std::string(reinterpret_cast<const char*>(bytes), ReadFull(fd, bytes).value_or(0));
}

int connector = -1;
int pause_socket = -1;

// As hull-vmm gets one for its guest; invalid if it is refused.
UniqueFd Connect() {
  if (!sandbox::SendRequest(connector, {.id = 1, .port = agent::kAgentPort}).ok()) return {};
  pollfd ready = {.fd = connector, .events = POLLIN, .revents = 0};
  poll(&ready, 1, -1);
  auto reply = sandbox::ReceiveReply(connector);
  if (!reply.ok() || !reply->has_value() || (*reply)->error != 0) return {};
  fcntl((*reply)->connection.get(), F_SETFL, 0);  // this fake blocks
  return std::move((*reply)->connection);
}

template <typename Message>
void Send(const UniqueFd& fd, const Message& message) {
  const std::string payload = message.SerializeAsString();
  uint8_t header[agent::kFrameHeaderBytes];
  agent::EncodeFrameHeader(static_cast<uint32_t>(payload.size()), header);
  WriteFull(fd.get(), std::string(reinterpret_cast<char*>(header), sizeof(header)) + payload)
      .IgnoreError();
}

std::optional<agent::HostMessage> Receive(const UniqueFd& fd) {
  uint8_t header[agent::kFrameHeaderBytes];
  if (ReadFull(fd.get(), header).value_or(0) != sizeof(header)) return std::nullopt;
  uint32_t size;
  memcpy(&size, header, sizeof(size));
  std::vector<uint8_t> payload(size);
  if (ReadFull(fd.get(), payload).value_or(0) != size) return std::nullopt;
  agent::HostMessage message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(size))) Unexpected("host message");
  return message;
}

agent::Hello ControlHello(uint32_t version = agent::PROTOCOL_VERSION) {
  agent::Hello hello;
  hello.set_version(version);
  hello.mutable_control();
  return hello;
}

UniqueFd ConnectStream(bool standard_error, uint64_t token) {
  UniqueFd fd = Connect();
  if (!fd.valid()) Unexpected("a stream was refused");
  agent::Hello hello;
  hello.set_version(agent::PROTOCOL_VERSION);
  agent::StreamRole* role = standard_error ? hello.mutable_standard_error() : hello.mutable_stdio();
  role->set_process_id(1);
  role->set_token(token);
  Send(fd, hello);
  return fd;
}

void SendStarted(const UniqueFd& control) {
  agent::AgentMessage message;
  message.mutable_started()->set_process_id(1);
  Send(control, message);
}

void SendExited(const UniqueFd& control, uint32_t code) {
  agent::AgentMessage message;
  message.mutable_exited()->set_process_id(1);
  message.mutable_exited()->set_exit_code(code);
  Send(control, message);
}

void AwaitShutdown(const UniqueFd& control) {
  while (const std::optional<agent::HostMessage> message = Receive(control)) {
    if (message->has_shutdown()) return;
  }
  Unexpected("no shutdown");
}

// As hull-vmm does when its machine is over, which the process then outlives.
[[noreturn]] void ReportAndStay(absl::string_view status) {
  constexpr int kReportFd = 3;
  WriteFull(kReportFd, status).IgnoreError();
  while (true) pause();
}

[[noreturn]] void Guest(const std::string& scenario) {
  if (scenario == "panic") {
    WriteFull(STDERR_FILENO, "hull-vmm: the guest said \x1b[1mboo\n").IgnoreError();
    _exit(67);
  }
  if (scenario == "reported-panic") {
    WriteFull(STDERR_FILENO, "hull-vmm: the guest said boo\n").IgnoreError();
    ReportAndStay("67\n");
  }
  if (scenario == "silent") pause();

  UniqueFd control = Connect();
  if (!control.valid()) Unexpected("no listener");
  Send(control, ControlHello(scenario == "other-version" ? 99 : agent::PROTOCOL_VERSION));
  if (scenario == "other-version") pause();
  const std::optional<agent::HostMessage> welcome = Receive(control);
  if (!welcome.has_value() || !welcome->has_welcome()) Unexpected("no welcome");
  const std::optional<agent::HostMessage> start = Receive(control);
  if (!start.has_value() || !start->has_start_container()) Unexpected("no start");
  const uint64_t token = start->start_container().process().stream_token();

  if (scenario == "start-failed") {
    agent::AgentMessage message;
    message.mutable_start_failed()->set_process_id(1);
    message.mutable_start_failed()->set_kind(agent::StartFailed::NOT_FOUND);
    message.mutable_start_failed()->set_message("not found: \x1b[2J");
    Send(control, message);
    AwaitShutdown(control);
    _exit(0);
  }
  if (scenario == "second-control") {
    const UniqueFd second = Connect();
    Send(second, ControlHello());
    pause();
  }
  if (scenario == "stranger") {
    // Processes of the container that connect: each is refused, none does harm.
    const UniqueFd liar = ConnectStream(false, token + 1);
    char byte;
    if (read(liar.get(), &byte, 1) > 0) Unexpected("a stranger was answered");
    const UniqueFd garbage = Connect();
    WriteFull(garbage.get(), std::string(100, '\xff')).IgnoreError();
    if (read(garbage.get(), &byte, 1) > 0) Unexpected("garbage was answered");
  }

  UniqueFd stdio = ConnectStream(false, token);
  UniqueFd standard_error = ConnectStream(true, token);
  if (scenario == "early-exit") SendExited(control, 0), pause();
  SendStarted(control);
  if (scenario == "long-frame") WriteFull(control.get(), "\xff\xff\xff\x7f").IgnoreError(), pause();
  if (scenario == "garbage")
    WriteFull(control.get(), std::string("\3\0\0\0\xff\xff\xff", 7)).IgnoreError(), pause();
  // A signal that the first process of a PID namespace sends itself would not kill it.
  if (scenario == "crash") __builtin_trap();
  if (scenario == "endless-output") SendExited(control, 0), pause();
  if (scenario == "poweroff") _exit(0);
  if (scenario == "cat" || scenario == "stranger" || scenario == "dawdler") {
    char buffer[70000];
    ssize_t n;
    while ((n = read(stdio.get(), buffer, sizeof(buffer))) > 0) {
      if (!WriteFull(stdio.get(), absl::string_view(buffer, static_cast<size_t>(n))).ok()) break;
    }
    WriteFull(standard_error.get(), "done\n").IgnoreError();
  }
  if (scenario == "much") {
    // More than all buffers on the way hold, once somebody is there to lose it.
    char byte;
    if (read(stdio.get(), &byte, 1) != 0) Unexpected("input");
    const std::string piece(65536, 'm');
    for (int i = 0; i < 128; ++i) WriteFull(stdio.get(), piece).IgnoreError();
  }
  if (scenario == "yes") {
    signal(SIGPIPE, SIG_IGN);
    while (write(stdio.get(), "y\n", 2) == 2) {
    }
  }
  if (scenario == "pausable") {
    // Does as it is told until it has gone on once more than it has paused.
    char request = 0;
    int pauses = 0;
    do {
      if (recv(pause_socket, &request, 1, 0) != 1) Unexpected("no request");
      pauses += request == machine::kPause ? 1 : -1;
      if (send(pause_socket, &request, 1, 0) != 1) Unexpected("no answer");
    } while (pauses >= 0);
  }
  uint32_t code = 7;
  if (scenario == "signal") {
    const std::optional<agent::HostMessage> message = Receive(control);
    if (!message.has_value() || !message->has_signal_process()) Unexpected("no signal");
    code = 100 + message->signal_process().signal();
  }
  if (scenario == "stubborn") {
    // Takes Shutdown and does not go.
    while (Receive(control).has_value()) {
    }
    pause();
  }
  shutdown(stdio.get(), SHUT_WR);
  shutdown(standard_error.get(), SHUT_WR);
  SendExited(control, code);
  AwaitShutdown(control);
  if (scenario != "dawdler") _exit(0);
  stdio.Reset();
  standard_error.Reset();
  control.Reset();
  ReportAndStay("0\n");
}

}  // namespace
}  // namespace hull::container

// fake_vmm --spec_fd=N ...
int main(int argc, char** argv) {
  using namespace hull;
  absl::string_view number = argc > 1 ? argv[1] : "";
  int spec_fd = -1;
  if (!absl::ConsumePrefix(&number, "--spec_fd=") || !absl::SimpleAtoi(number, &spec_fd)) {
    container::Unexpected("arguments");
  }
  const auto spec = machine::ParseSpec(container::ReadAll(spec_fd));
  if (!spec.ok() || !spec->vsock.has_value()) container::Unexpected("spec");
  container::connector = spec->vsock->connector.value_or(-1);
  container::pause_socket = spec->pause.value_or(-1);
  const int* const kernel = std::get_if<int>(&spec->kernel.source);
  if (kernel == nullptr) container::Unexpected("kernel");
  container::Guest(container::ReadAll(*kernel));
}
