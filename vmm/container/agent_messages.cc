#include "vmm/container/agent_messages.h"

#include <sys/resource.h>

#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "guest-agent/protocol/agent.pb.h"
#include "guest-agent/protocol/framing.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/process.h"

namespace hull::container {
namespace {

// The root image is the first virtio block device of the machine.
constexpr char kRootDevice[] = "/dev/vda";
constexpr char kRootFilesystem[] = "erofs";
constexpr uint32_t kFileMode = 0644;

absl::Status AppendFrame(const agent::HostMessage& message, std::string* frames) {
  const size_t size = message.ByteSizeLong();
  if (size > agent::kMaxHostMessageBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the command, its arguments and environment take ", size,
                     " bytes; a container can be given ", agent::kMaxHostMessageBytes));
  }
  uint8_t header[agent::kFrameHeaderBytes];
  agent::EncodeFrameHeader(static_cast<uint32_t>(size), header);
  frames->append(reinterpret_cast<const char*>(header), sizeof(header));
  message.AppendToString(frames);
  return absl::OkStatus();
}

void AddFile(absl::string_view path, std::string content, agent::ContainerSpec* container) {
  agent::File* file = container->add_files();
  file->set_path(std::string(path));
  file->set_content(std::move(content));
  file->set_mode(kFileMode);
}

void FillContainer(const Config& config, agent::ContainerSpec* container) {
  container->set_hostname(config.hostname);
  container->mutable_root()->set_device(kRootDevice);
  container->mutable_root()->set_filesystem_type(kRootFilesystem);
  container->mutable_root()->set_read_only(config.read_only);
  // With a read-only root, it is what /run and /tmp are on.
  container->mutable_root()->mutable_tmpfs();
  AddFile("/etc/hostname", absl::StrCat(config.hostname, "\n"), container);
  AddFile("/etc/hosts",
          absl::StrCat("127.0.0.1\tlocalhost localhost.localdomain\n"
                       "::1\tlocalhost localhost.localdomain\n"
                       "127.0.1.1\t",
                       config.hostname, "\n"),
          container);
}

void FillProcess(const Process& from, uint64_t stream_token, agent::ProcessSpec* process) {
  process->set_process_id(kMainProcessId);
  process->set_stream_token(stream_token);
  process->set_attach_stdin(from.attach_stdin);
  for (const std::string& arg : from.args) process->add_args(arg);
  for (const std::string& variable : from.environment) process->add_environment(variable);
  process->set_working_directory(from.working_directory);
  process->set_user(from.user);
  agent::Rlimit* open_files = process->add_rlimits();
  open_files->set_resource(RLIMIT_NOFILE);
  open_files->set_soft(kDefaultOpenFiles);
  open_files->set_hard(kDefaultOpenFiles);
  agent::Capabilities* capabilities = process->mutable_capabilities();
  capabilities->set_bounding(kDefaultCapabilities);
  capabilities->set_effective(kDefaultCapabilities);
  capabilities->set_permitted(kDefaultCapabilities);
}

Outcome StartFailure(const agent::StartFailed& failed) {
  int status = kHullFailed;
  if (failed.kind() == agent::StartFailed::NOT_FOUND) status = kNotFound;
  if (failed.kind() == agent::StartFailed::NOT_EXECUTABLE) status = kNotExecutable;
  return {.exit_status = status, .error = Printable(failed.message())};
}

absl::Status Violation(absl::string_view what) { return absl::InvalidArgumentError(what); }

}  // namespace

absl::StatusOr<std::string> StartContainerFrames(const Config& config, uint64_t stream_token) {
  std::string frames;
  agent::HostMessage message;
  message.mutable_welcome()->set_version(agent::PROTOCOL_VERSION);
  HULL_RETURN_IF_ERROR(AppendFrame(message, &frames));
  agent::StartContainer* start = message.mutable_start_container();
  FillContainer(config, start->mutable_container());
  FillProcess(config.process, stream_token, start->mutable_process());
  HULL_RETURN_IF_ERROR(AppendFrame(message, &frames));
  return frames;
}

std::string SignalFrame(uint32_t signal) {
  agent::HostMessage message;
  message.mutable_signal_process()->set_process_id(kMainProcessId);
  message.mutable_signal_process()->set_signal(signal);
  std::string frame;
  AppendFrame(message, &frame).IgnoreError();  // a few bytes always fit
  return frame;
}

std::string ShutdownFrame() {
  agent::HostMessage message;
  message.mutable_shutdown();
  std::string frame;
  AppendFrame(message, &frame).IgnoreError();  // a few bytes always fit
  return frame;
}

absl::StatusOr<ConnectionRole> ParseHello(std::span<const uint8_t> payload, uint64_t stream_token) {
  agent::Hello hello;
  if (!hello.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return Violation("a Hello that does not decode");
  }
  if (hello.role_case() == agent::Hello::kControl) {
    if (hello.version() != agent::PROTOCOL_VERSION) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the guest's agent speaks version ", hello.version(), " of the agent protocol, hull ",
          static_cast<uint32_t>(agent::PROTOCOL_VERSION),
          ": the initramfs and hull are not of the same build"));
    }
    return ConnectionRole::kControl;
  }
  const bool is_stdio = hello.role_case() == agent::Hello::kStdio;
  if (!is_stdio && hello.role_case() != agent::Hello::kStandardError) {
    return Violation("a connection without a role");
  }
  const agent::StreamRole& stream = is_stdio ? hello.stdio() : hello.standard_error();
  if (stream.process_id() != kMainProcessId) return Violation("a stream of an unknown process");
  if (stream.token() != stream_token) return Violation("a stream with a wrong token");
  return is_stdio ? ConnectionRole::kStdio : ConnectionRole::kStandardError;
}

absl::StatusOr<AgentEvent> ParseAgentMessage(std::span<const uint8_t> payload) {
  agent::AgentMessage message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return Violation("a message that does not decode");
  }
  switch (message.message_case()) {
    case agent::AgentMessage::kStarted:
      if (message.started().process_id() != kMainProcessId) return Violation("an unknown process");
      return AgentEvent{.kind = AgentEvent::Kind::kStarted};
    case agent::AgentMessage::kStartFailed:
      if (message.start_failed().process_id() != kMainProcessId) {
        return Violation("an unknown process");
      }
      return AgentEvent{.kind = AgentEvent::Kind::kStartFailed,
                        .outcome = StartFailure(message.start_failed())};
    case agent::AgentMessage::kExited: {
      const agent::Exited& exited = message.exited();
      if (exited.process_id() != kMainProcessId) return Violation("an unknown process");
      AgentEvent event = {.kind = AgentEvent::Kind::kExited};
      if (exited.status_case() == agent::Exited::kExitCode && exited.exit_code() <= 255) {
        event.outcome.exit_status = static_cast<int>(exited.exit_code());
      } else if (exited.status_case() == agent::Exited::kSignal && exited.signal() >= 1 &&
                 exited.signal() <= 64) {
        event.outcome.exit_status = SignalStatus(static_cast<int>(exited.signal()));
      } else {
        return Violation("an exit status that does not exist");
      }
      return event;
    }
    case agent::AgentMessage::kFatal:
      return AgentEvent{.kind = AgentEvent::Kind::kFatal,
                        .outcome = {.exit_status = kHullFailed,
                                    .error = absl::StrCat("the guest's agent gave up: ",
                                                          Printable(message.fatal().message()))}};
    case agent::AgentMessage::kProcessList:
    case agent::AgentMessage::kStatistics:
      return Violation("an answer to what was not asked");
    case agent::AgentMessage::MESSAGE_NOT_SET:
      return AgentEvent();
  }
  return AgentEvent();
}

}  // namespace hull::container
