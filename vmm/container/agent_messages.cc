#include "vmm/container/agent_messages.h"

#include <sys/resource.h>

#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "guest-agent/protocol/agent.pb.h"
#include "guest-agent/protocol/framing.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/process.h"

namespace hull::container {
namespace {

// The root image is the first virtio block device of the machine.
constexpr char kRootDevice[] = "/dev/vda";
constexpr char kRootFilesystem[] = "erofs";
// The writable layer, if it is on a disk, is the second, and volumes follow.
constexpr char kDiskFilesystem[] = "ext4";
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

// Of the disks behind the root.
std::string DiskDevice(size_t number) {
  return absl::StrCat("/dev/vd", std::string(1, static_cast<char>('b' + number)));
}

void FillMount(const Mount& from, std::string device, agent::Mount* mount) {
  mount->set_target(from.target);
  if (from.type == MountType::kVolume) {
    mount->set_device(std::move(device));
    mount->set_filesystem_type(kDiskFilesystem);
    mount->set_options("discard");
  } else {
    mount->set_filesystem_type("tmpfs");
    std::string options = absl::StrFormat("mode=%o", from.tmpfs_mode);
    if (from.tmpfs_bytes > 0) absl::StrAppend(&options, ",size=", from.tmpfs_bytes);
    mount->set_options(options);
  }
  mount->set_read_only(from.read_only);
  mount->set_allow_suid(from.allow_suid);
  mount->set_allow_devices(from.allow_devices);
  mount->set_allow_exec(from.allow_exec);
  mount->set_copy_image(from.copy_image);
}

void FillContainer(const Config& config, agent::ContainerSpec* container) {
  container->set_hostname(config.hostname);
  container->mutable_root()->set_device(kRootDevice);
  container->mutable_root()->set_filesystem_type(kRootFilesystem);
  container->mutable_root()->set_read_only(config.read_only);
  // With a read-only root, it is what /run and /tmp are on.
  size_t disks = 0;
  if (config.storage_bytes > 0) {
    container->mutable_root()->mutable_disk()->set_device(DiskDevice(disks++));
    container->mutable_root()->mutable_disk()->set_filesystem_type(kDiskFilesystem);
  } else {
    container->mutable_root()->mutable_tmpfs();
  }
  for (const Mount& mount : config.mounts) {
    const bool disk = mount.type == MountType::kVolume;
    FillMount(mount, disk ? DiskDevice(disks++) : "", container->add_mounts());
  }
  AddFile("/etc/hostname", absl::StrCat(config.hostname, "\n"), container);
  AddFile("/etc/hosts",
          absl::StrCat("127.0.0.1\tlocalhost localhost.localdomain\n"
                       "::1\tlocalhost localhost.localdomain\n"
                       "127.0.1.1\t",
                       config.hostname, "\n"),
          container);
}

void FillProcess(const Process& from, uint32_t process_id, uint64_t stream_token,
                 agent::ProcessSpec* process) {
  process->set_process_id(process_id);
  process->set_stream_token(stream_token);
  process->set_attach_stdin(from.attach_stdin);
  for (const std::string& arg : from.args) process->add_args(arg);
  for (const std::string& variable : from.environment) process->add_environment(variable);
  process->set_working_directory(from.working_directory);
  process->set_user(from.user);
  if (from.terminal) {
    process->mutable_terminal()->set_rows(from.terminal_size.rows);
    process->mutable_terminal()->set_columns(from.terminal_size.columns);
  }
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

// Of a message that always fits.
std::string SmallFrame(const agent::HostMessage& message) {
  std::string frame;
  AppendFrame(message, &frame).IgnoreError();
  return frame;
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
  FillProcess(config.process, kMainProcessId, stream_token, start->mutable_process());
  HULL_RETURN_IF_ERROR(AppendFrame(message, &frames));
  return frames;
}

absl::StatusOr<std::string> StartProcessFrame(uint32_t process_id, uint64_t stream_token,
                                              const ExecRequest& request) {
  std::string frame;
  agent::HostMessage message;
  agent::ProcessSpec* process = message.mutable_start_process()->mutable_process();
  FillProcess(request.process, process_id, stream_token, process);
  process->set_discard_output(request.detach);
  process->set_archiver(request.archiver);
  HULL_RETURN_IF_ERROR(AppendFrame(message, &frame));
  return frame;
}

std::string SignalFrame(uint32_t process_id, uint32_t signal) {
  agent::HostMessage message;
  message.mutable_signal_process()->set_process_id(process_id);
  message.mutable_signal_process()->set_signal(signal);
  return SmallFrame(message);
}

std::string ResizeTerminalFrame(uint32_t process_id, const TerminalSize& size) {
  agent::HostMessage message;
  message.mutable_resize_terminal()->set_process_id(process_id);
  message.mutable_resize_terminal()->mutable_size()->set_rows(size.rows);
  message.mutable_resize_terminal()->mutable_size()->set_columns(size.columns);
  return SmallFrame(message);
}

std::string ListProcessesFrame(uint32_t request_id, uint32_t after_pid) {
  agent::HostMessage message;
  message.mutable_list_processes()->set_request_id(request_id);
  message.mutable_list_processes()->set_after_pid(after_pid);
  return SmallFrame(message);
}

std::string GetStatisticsFrame(uint32_t request_id) {
  agent::HostMessage message;
  message.mutable_get_statistics()->set_request_id(request_id);
  return SmallFrame(message);
}

std::string ShutdownFrame() {
  agent::HostMessage message;
  message.mutable_shutdown();
  return SmallFrame(message);
}

absl::StatusOr<GuestHello> ParseHello(std::span<const uint8_t> payload) {
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
    return GuestHello();
  }
  const bool is_stdio = hello.role_case() == agent::Hello::kStdio;
  if (!is_stdio && hello.role_case() != agent::Hello::kStandardError) {
    return Violation("a connection without a role");
  }
  const agent::StreamRole& stream = is_stdio ? hello.stdio() : hello.standard_error();
  return GuestHello{.role = is_stdio ? ConnectionRole::kStdio : ConnectionRole::kStandardError,
                    .process_id = stream.process_id(),
                    .token = stream.token()};
}

absl::StatusOr<ProcessPage> ParseProcessPage(absl::string_view answer) {
  agent::ProcessList list;
  if (!list.ParseFromArray(answer.data(), static_cast<int>(answer.size()))) {
    return Violation("a list of processes that does not decode");
  }
  if (list.processes_size() > kMaxListedProcesses) {
    return Violation("a list of too many processes");
  }
  if (list.processes_size() == 0 && !list.complete()) return Violation("an endless list");
  ProcessPage page = {
      .request_id = list.request_id(), .processes = {}, .complete = list.complete()};
  uint32_t last_pid = 0;
  for (const agent::ProcessEntry& entry : list.processes()) {
    if (entry.pid() <= last_pid) return Violation("processes that are not in order");
    last_pid = entry.pid();
    const bool letter = entry.state() > 0x20 && entry.state() < 0x7f;
    page.processes.push_back({.pid = entry.pid(),
                              .parent_pid = entry.parent_pid(),
                              .uid = entry.uid(),
                              .user = entry.user(),
                              .state = letter ? static_cast<char>(entry.state()) : '?',
                              .cpu_time_ms = entry.cpu_time_ms(),
                              .elapsed_ms = entry.elapsed_ms(),
                              .terminal = entry.terminal(),
                              .command = entry.command()});
  }
  return page;
}

absl::StatusOr<GuestStatistics> ParseStatistics(absl::string_view answer) {
  agent::Statistics from;
  if (!from.ParseFromArray(answer.data(), static_cast<int>(answer.size()))) {
    return Violation("statistics that do not decode");
  }
  return GuestStatistics{.request_id = from.request_id(),
                         .memory_total_bytes = from.memory_total_bytes(),
                         .memory_available_bytes = from.memory_available_bytes(),
                         .memory_free_bytes = from.memory_free_bytes(),
                         .cpus = from.cpus(),
                         .cpu_busy_ms = from.cpu_busy_ms(),
                         .processes = from.processes(),
                         .threads = from.threads(),
                         .block_read_bytes = from.block_read_bytes(),
                         .block_written_bytes = from.block_written_bytes(),
                         .block_reads = from.block_reads(),
                         .block_writes = from.block_writes(),
                         .uptime_ms = from.uptime_ms()};
}

absl::StatusOr<AgentEvent> ParseAgentMessage(std::span<const uint8_t> payload) {
  agent::AgentMessage message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return Violation("a message that does not decode");
  }
  switch (message.message_case()) {
    case agent::AgentMessage::kStarted:
      if (message.started().process_id() == 0) return Violation("a process without a number");
      return AgentEvent{.kind = AgentEvent::Kind::kStarted,
                        .process_id = message.started().process_id()};
    case agent::AgentMessage::kStartFailed:
      if (message.start_failed().process_id() == 0) return Violation("a process without a number");
      return AgentEvent{.kind = AgentEvent::Kind::kStartFailed,
                        .process_id = message.start_failed().process_id(),
                        .outcome = StartFailure(message.start_failed())};
    case agent::AgentMessage::kExited: {
      const agent::Exited& exited = message.exited();
      if (exited.process_id() == 0) return Violation("a process without a number");
      AgentEvent event = {.kind = AgentEvent::Kind::kExited, .process_id = exited.process_id()};
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
    case agent::AgentMessage::kProcessList: {
      AgentEvent event = {.kind = AgentEvent::Kind::kProcesses};
      message.process_list().SerializeToString(&event.answer);
      HULL_RETURN_IF_ERROR(ParseProcessPage(event.answer).status());
      return event;
    }
    case agent::AgentMessage::kStatistics: {
      AgentEvent event = {.kind = AgentEvent::Kind::kStatistics};
      message.statistics().SerializeToString(&event.answer);
      return event;
    }
    case agent::AgentMessage::MESSAGE_NOT_SET:
      return AgentEvent();
  }
  return AgentEvent();
}

}  // namespace hull::container
