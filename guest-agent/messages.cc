#include "guest-agent/messages.h"

#include <pb_decode.h>
#include <pb_encode.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>

#include "guest-agent/protocol/agent.nanopb.h"

namespace hull::agent {

static_assert(kProtocolVersion == hull_agent_Protocol_PROTOCOL_VERSION);
static_assert(sizeof(hull_agent_StartFailed_message_t::bytes) == kMaxExplanation);
static_assert(sizeof(hull_agent_Fatal_message_t::bytes) == kMaxExplanation);
static_assert(std::size(hull_agent_ProcessSpec{}.additional_gids) == kMaxAdditionalGids);
static_assert(std::size(hull_agent_ProcessSpec{}.rlimits) == kMaxRlimits);
static_assert(sizeof(hull_agent_ProcessEntry_user_t::bytes) ==
              decltype(ListedProcess::user)::capacity());
static_assert(sizeof(hull_agent_ProcessEntry_command_t::bytes) ==
              decltype(ListedProcess::command)::capacity());
// The list, its request and `complete`, each with a tag and a length, beside the entries.
static_assert(kMaxListedProcesses * (hull_agent_ProcessEntry_size + 3) + 16 <=
              kMaxAgentMessageBytes);

// The bounds of agent.options make names short, so they fit into what the frame left.
template <typename Bytes>
const char* HostMessageDecoder::StoreName(const Bytes& bytes) {
  const char* const text = Store(bytes.bytes, bytes.size);
  return text != nullptr && std::memchr(text, '\0', bytes.size) == nullptr ? text : nullptr;
}

// nanopb calls these for the fields whose length only the frame bounds. `*arg` is the decoder.
struct DecodeCallbacks {
  static HostMessageDecoder& Self(void** arg) { return *static_cast<HostMessageDecoder*>(*arg); }

  // The whole rest of `stream` in the arena. Null: a read error (nanopb has noted it).
  static char* ReadAll(pb_istream_t* stream, HostMessageDecoder& self, size_t* size) {
    *size = stream->bytes_left;
    char* const at = self.Store(nullptr, *size);
    if (at == nullptr || !pb_read(stream, reinterpret_cast<pb_byte_t*>(at), *size)) return nullptr;
    return at;
  }

  // As ReadAll(), for what becomes a C string.
  static char* ReadString(pb_istream_t* stream, HostMessageDecoder& self, std::string_view what) {
    size_t size = 0;
    char* const at = ReadAll(stream, self, &size);
    if (at != nullptr && std::memchr(at, '\0', size) != nullptr) {
      self.Refuse({what, " holds a NUL byte"});
      return nullptr;
    }
    return at;
  }

  static bool Argument(pb_istream_t* stream, const pb_field_t*, void** arg) {
    HostMessageDecoder& self = Self(arg);
    if (self.start_.arg_count == kMaxArgs) return self.Refuse({"too many args"});
    const char* const text = ReadString(stream, self, "an argument");
    if (text == nullptr) return false;
    self.start_.args[self.start_.arg_count++] = text;
    self.start_.args[self.start_.arg_count] = nullptr;
    return true;
  }

  static bool Variable(pb_istream_t* stream, const pb_field_t*, void** arg) {
    HostMessageDecoder& self = Self(arg);
    if (self.start_.environment_count == kMaxEnvironment) {
      return self.Refuse({"too many environment variables"});
    }
    const char* const text = ReadString(stream, self, "an environment variable");
    if (text == nullptr) return false;
    self.start_.environment[self.start_.environment_count++] = text;
    self.start_.environment[self.start_.environment_count] = nullptr;
    return true;
  }

  static bool WorkingDirectory(pb_istream_t* stream, const pb_field_t*, void** arg) {
    HostMessageDecoder& self = Self(arg);
    const char* const text = ReadString(stream, self, "the working directory");
    if (text == nullptr) return false;
    if (*text != '\0') self.start_.working_directory = text;
    return true;
  }

  static bool FilePath(pb_istream_t* stream, const pb_field_t*, void** arg) {
    HostMessageDecoder& self = Self(arg);
    return (self.start_.files[self.start_.file_count].path =
                ReadString(stream, self, "a file's path")) != nullptr;
  }

  static bool FileContent(pb_istream_t* stream, const pb_field_t*, void** arg) {
    HostMessageDecoder& self = Self(arg);
    size_t size = 0;
    const char* const bytes = ReadAll(stream, self, &size);
    if (bytes == nullptr) return false;
    self.start_.files[self.start_.file_count].content = {bytes, size};
    return true;
  }

  static bool File(pb_istream_t* stream, const pb_field_t*, void** arg) {
    HostMessageDecoder& self = Self(arg);
    if (self.start_.file_count == kMaxFiles) return self.Refuse({"too many files"});
    FileRequest& file = self.start_.files[self.start_.file_count];
    file = {};
    hull_agent_File message = hull_agent_File_init_zero;
    message.path = {{.decode = &FilePath}, *arg};
    message.content = {{.decode = &FileContent}, *arg};
    if (!pb_decode(stream, hull_agent_File_fields, &message)) return false;
    if (file.path == nullptr || file.path[0] != '/') {
      return self.Refuse({"a file's path is not absolute"});
    }
    if (message.mode > 07777) return self.Refuse({"a file's mode is not permission bits"});
    file.mode = message.mode;
    ++self.start_.file_count;
    return true;
  }

  static bool MountTarget(pb_istream_t* stream, const pb_field_t*, void** arg) {
    HostMessageDecoder& self = Self(arg);
    return (self.start_.mounts[self.start_.mount_count].target =
                ReadString(stream, self, "a mount's target")) != nullptr;
  }

  static bool Mount(pb_istream_t* stream, const pb_field_t*, void** arg) {
    HostMessageDecoder& self = Self(arg);
    if (self.start_.mount_count == kMaxMounts) return self.Refuse({"too many mounts"});
    MountRequest& mount = self.start_.mounts[self.start_.mount_count];
    mount = {};
    hull_agent_Mount message = hull_agent_Mount_init_zero;
    message.target = {{.decode = &MountTarget}, *arg};
    if (!pb_decode(stream, hull_agent_Mount_fields, &message)) return false;
    if (mount.target == nullptr || mount.target[0] != '/') {
      return self.Refuse({"a mount's target is not absolute"});
    }
    if (message.device.size > 0) {
      mount.device = self.StoreName(message.device);
      if (mount.device == nullptr) return self.Refuse({"a name holds a NUL byte"});
    }
    mount.filesystem_type = self.StoreName(message.filesystem_type);
    mount.options = self.StoreName(message.options);
    if (mount.filesystem_type == nullptr || mount.options == nullptr) {
      return self.Refuse({"a name holds a NUL byte"});
    }
    if (*mount.filesystem_type == '\0') return self.Refuse({"a mount has no filesystem type"});
    mount.read_only = message.read_only;
    mount.allow_suid = message.allow_suid;
    mount.allow_devices = message.allow_devices;
    mount.allow_exec = message.allow_exec;
    mount.copy_image = message.copy_image;
    ++self.start_.mount_count;
    return true;
  }

  // Called when nanopb has seen which member of the oneof follows, before it decodes that member.
  static bool Member(pb_istream_t*, const pb_field_t* field, void** arg) {
    hull_agent_ProcessSpec* process = nullptr;
    if (field->tag == hull_agent_HostMessage_start_container_tag) {
      auto* const start = static_cast<hull_agent_StartContainer*>(field->pData);
      start->container.files = {{.decode = &File}, *arg};
      start->container.mounts = {{.decode = &Mount}, *arg};
      process = &start->process;
    } else if (field->tag == hull_agent_HostMessage_start_process_tag) {
      process = &static_cast<hull_agent_StartProcess*>(field->pData)->process;
    } else {
      return true;
    }
    HostMessageDecoder& self = Self(arg);
    self.start_.Clear();
    self.arena_used_ = 0;
    process->args = {{.decode = &Argument}, *arg};
    process->environment = {{.decode = &Variable}, *arg};
    process->working_directory = {{.decode = &WorkingDirectory}, *arg};
    return true;
  }
};

char* HostMessageDecoder::Store(const void* bytes, size_t size) {
  if (size >= sizeof(arena_) - arena_used_) return nullptr;
  char* const at = arena_ + arena_used_;
  if (bytes != nullptr) std::memcpy(at, bytes, size);
  at[size] = '\0';
  arena_used_ += size + 1;
  return at;
}

bool HostMessageDecoder::Refuse(std::initializer_list<std::string_view> why) {
  explanation_.Assign(why);
  return false;
}

HostMessageType HostMessageDecoder::Invalid(std::initializer_list<std::string_view> why) {
  Refuse(why);
  return HostMessageType::kInvalid;
}

namespace {

// False: not a size of a terminal.
bool ReadTerminalSize(const hull_agent_TerminalSize& from, WindowSize* to) {
  if (from.rows > UINT16_MAX || from.columns > UINT16_MAX) return false;
  *to = {static_cast<uint16_t>(from.rows), static_cast<uint16_t>(from.columns)};
  return true;
}

}  // namespace

HostMessageType HostMessageDecoder::Decode(std::span<const uint8_t> payload) {
  explanation_.Assign({});
  hull_agent_HostMessage message = hull_agent_HostMessage_init_zero;
  message.cb_message = {{.decode = &DecodeCallbacks::Member}, this};
  pb_istream_t stream = pb_istream_from_buffer(payload.data(), payload.size());
  if (!pb_decode(&stream, hull_agent_HostMessage_fields, &message)) {
    if (explanation_.view().empty()) return Invalid({"does not decode: ", PB_GET_ERROR(&stream)});
    return HostMessageType::kInvalid;
  }

  const auto& member = message.message;
  switch (message.which_message) {
    case hull_agent_HostMessage_welcome_tag:
      version_ = member.welcome.version;
      return HostMessageType::kWelcome;

    case hull_agent_HostMessage_start_container_tag:
      if (!TakeContainer(&member.start_container.container) ||
          !TakeProcess(&member.start_container.process)) {
        return HostMessageType::kInvalid;
      }
      return HostMessageType::kStartContainer;

    case hull_agent_HostMessage_start_process_tag:
      if (!TakeProcess(&member.start_process.process)) return HostMessageType::kInvalid;
      return HostMessageType::kStartProcess;

    case hull_agent_HostMessage_signal_process_tag:
      if (member.signal_process.signal < 1 || member.signal_process.signal > 64) {
        return Invalid({"no such signal"});
      }
      process_id_ = member.signal_process.process_id;
      signal_ = static_cast<int>(member.signal_process.signal);
      return HostMessageType::kSignalProcess;

    case hull_agent_HostMessage_resize_terminal_tag:
      if (!ReadTerminalSize(member.resize_terminal.size, &terminal_size_)) {
        return Invalid({"no size of a terminal"});
      }
      process_id_ = member.resize_terminal.process_id;
      return HostMessageType::kResizeTerminal;

    case hull_agent_HostMessage_list_processes_tag:
      request_id_ = member.list_processes.request_id;
      after_pid_ = member.list_processes.after_pid;
      return HostMessageType::kListProcesses;

    case hull_agent_HostMessage_get_statistics_tag:
      request_id_ = member.get_statistics.request_id;
      return HostMessageType::kGetStatistics;

    case hull_agent_HostMessage_shutdown_tag:
      return HostMessageType::kShutdown;

    default:
      return HostMessageType::kUnknown;
  }
}

bool HostMessageDecoder::TakeContainer(const void* container_spec) {
  const auto& container = *static_cast<const hull_agent_ContainerSpec*>(container_spec);
  const char* const hostname = StoreName(container.hostname);
  start_.root.device = StoreName(container.root.device);
  start_.root.filesystem_type = StoreName(container.root.filesystem_type);
  if (hostname == nullptr || start_.root.device == nullptr ||
      start_.root.filesystem_type == nullptr) {
    return Refuse({"a name holds a NUL byte"});
  }
  if (*start_.root.device == '\0' || *start_.root.filesystem_type == '\0') {
    return Refuse({"no root device or no filesystem type"});
  }
  start_.hostname = {hostname, container.hostname.size};
  start_.root.read_only = container.root.read_only;
  const auto& layer = container.root.writable_layer;
  switch (container.root.which_writable_layer) {
    case hull_agent_RootFilesystem_tmpfs_tag:
      start_.root.tmpfs_bytes = layer.tmpfs.size_bytes;
      return true;
    case hull_agent_RootFilesystem_disk_tag:
      start_.root.layer_device = StoreName(layer.disk.device);
      start_.root.layer_filesystem_type = StoreName(layer.disk.filesystem_type);
      if (start_.root.layer_device == nullptr || start_.root.layer_filesystem_type == nullptr) {
        return Refuse({"a name holds a NUL byte"});
      }
      if (*start_.root.layer_device == '\0' || *start_.root.layer_filesystem_type == '\0') {
        return Refuse({"no device or no filesystem type of the writable layer"});
      }
      return true;
    default:
      return Refuse({"no writable layer of a kind that this agent knows"});
  }
}

bool HostMessageDecoder::TakeProcess(const void* process_spec) {
  const auto& process = *static_cast<const hull_agent_ProcessSpec*>(process_spec);
  const char* const user = StoreName(process.user);
  if (user == nullptr) return Refuse({"a name holds a NUL byte"});
  if (process.process_id == 0) return Refuse({"process_id is 0"});
  if (start_.arg_count == 0 || start_.args[0][0] == '\0') return Refuse({"no command"});
  if (start_.working_directory[0] != '/') return Refuse({"the working directory is not absolute"});
  if (process.has_umask && process.umask > 0777) return Refuse({"umask is not permission bits"});
  if (!ReadTerminalSize(process.terminal, &start_.terminal)) {
    return Refuse({"no size of a terminal"});
  }

  start_.user = {user, process.user.size};
  start_.process_id = process.process_id;
  start_.stream_token = process.stream_token;
  start_.attach_stdin = process.attach_stdin;
  start_.discard_output = process.discard_output;
  start_.archiver = process.archiver;
  start_.has_terminal = process.has_terminal;
  start_.additional_gid_count = process.additional_gids_count;
  std::copy_n(process.additional_gids, process.additional_gids_count, start_.additional_gids);
  if (process.has_umask) start_.umask = process.umask;
  start_.rlimit_count = process.rlimits_count;
  for (size_t i = 0; i < start_.rlimit_count; ++i) {
    const hull_agent_Rlimit& limit = process.rlimits[i];
    start_.rlimits[i] = {limit.resource, limit.soft, limit.hard};
  }
  const hull_agent_Capabilities& sets = process.capabilities;
  start_.capabilities = {sets.bounding, sets.effective, sets.permitted, sets.inheritable,
                         sets.ambient};
  start_.no_new_privileges = process.no_new_privileges;
  return true;
}

namespace {

// Copies into a nanopb bytes array, cutting off what is too long.
template <typename Bytes>
void SetBytes(Bytes* to, std::string_view from) {
  to->size = static_cast<pb_size_t>(std::min(from.size(), sizeof(to->bytes)));
  std::memcpy(to->bytes, from.data(), to->size);
}

hull_agent_StartFailed_Kind Kind(StartFailure kind) {
  switch (kind) {
    case StartFailure::kInternal:
      return hull_agent_StartFailed_Kind_INTERNAL;
    case StartFailure::kNotFound:
      return hull_agent_StartFailed_Kind_NOT_FOUND;
    case StartFailure::kNotExecutable:
      return hull_agent_StartFailed_Kind_NOT_EXECUTABLE;
    case StartFailure::kInvalidSpec:
      return hull_agent_StartFailed_Kind_INVALID_SPEC;
  }
  return hull_agent_StartFailed_Kind_INTERNAL;
}

}  // namespace

EncodedFrame EncodedFrame::Encode(const void* fields, const void* message) {
  EncodedFrame frame;
  pb_ostream_t stream = pb_ostream_from_buffer(frame.data_ + kFrameHeaderBytes,
                                               sizeof(frame.data_) - kFrameHeaderBytes);
  if (!pb_encode(&stream, static_cast<const pb_msgdesc_t*>(fields), message)) return frame;
  EncodeFrameHeader(static_cast<uint32_t>(stream.bytes_written),
                    std::span(frame.data_).first<kFrameHeaderBytes>());
  frame.size_ = kFrameHeaderBytes + stream.bytes_written;
  return frame;
}

EncodedFrame EncodedFrame::ControlHello() {
  hull_agent_Hello hello = hull_agent_Hello_init_zero;
  hello.version = kProtocolVersion;
  hello.which_role = hull_agent_Hello_control_tag;
  return Encode(hull_agent_Hello_fields, &hello);
}

EncodedFrame EncodedFrame::StreamHello(StreamKind kind, uint32_t process_id, uint64_t token) {
  hull_agent_Hello hello = hull_agent_Hello_init_zero;
  hello.version = kProtocolVersion;
  hello.which_role =
      kind == StreamKind::kStdio ? hull_agent_Hello_stdio_tag : hull_agent_Hello_standard_error_tag;
  hull_agent_StreamRole& stream =
      kind == StreamKind::kStdio ? hello.role.stdio : hello.role.standard_error;
  stream.process_id = process_id;
  stream.token = token;
  return Encode(hull_agent_Hello_fields, &hello);
}

EncodedFrame EncodedFrame::Started(uint32_t process_id, uint32_t pid) {
  hull_agent_AgentMessage message = hull_agent_AgentMessage_init_zero;
  message.which_message = hull_agent_AgentMessage_started_tag;
  message.message.started = {process_id, pid};
  return Encode(hull_agent_AgentMessage_fields, &message);
}

EncodedFrame EncodedFrame::StartFailed(uint32_t process_id, StartFailure kind,
                                       std::string_view why) {
  hull_agent_AgentMessage message = hull_agent_AgentMessage_init_zero;
  message.which_message = hull_agent_AgentMessage_start_failed_tag;
  message.message.start_failed.process_id = process_id;
  message.message.start_failed.kind = Kind(kind);
  SetBytes(&message.message.start_failed.message, why);
  return Encode(hull_agent_AgentMessage_fields, &message);
}

EncodedFrame EncodedFrame::Exited(uint32_t process_id, int wait_status) {
  hull_agent_AgentMessage message = hull_agent_AgentMessage_init_zero;
  message.which_message = hull_agent_AgentMessage_exited_tag;
  hull_agent_Exited& exited = message.message.exited;
  exited.process_id = process_id;
  if (WIFSIGNALED(wait_status)) {
    exited.which_status = hull_agent_Exited_signal_tag;
    exited.status.signal = static_cast<uint32_t>(WTERMSIG(wait_status));
    exited.core_dumped = WCOREDUMP(wait_status);
  } else {
    exited.which_status = hull_agent_Exited_exit_code_tag;
    exited.status.exit_code = static_cast<uint32_t>(WEXITSTATUS(wait_status));
  }
  return Encode(hull_agent_AgentMessage_fields, &message);
}

EncodedFrame EncodedFrame::Fatal(std::string_view why) {
  hull_agent_AgentMessage message = hull_agent_AgentMessage_init_zero;
  message.which_message = hull_agent_AgentMessage_fatal_tag;
  SetBytes(&message.message.fatal.message, why);
  return Encode(hull_agent_AgentMessage_fields, &message);
}

namespace {

bool EncodeEntries(pb_ostream_t* stream, const pb_field_t* field, void* const* arg) {
  for (const ListedProcess& from : *static_cast<const std::span<const ListedProcess>*>(*arg)) {
    hull_agent_ProcessEntry entry = hull_agent_ProcessEntry_init_zero;
    entry.pid = from.pid;
    entry.parent_pid = from.parent_pid;
    entry.uid = from.uid;
    SetBytes(&entry.user, from.user.view());
    entry.state = static_cast<uint8_t>(from.state);
    entry.cpu_time_ms = from.cpu_time_ms;
    entry.elapsed_ms = from.elapsed_ms;
    entry.terminal = from.terminal;
    SetBytes(&entry.command, from.command.view());
    if (!pb_encode_tag_for_field(stream, field) ||
        !pb_encode_submessage(stream, hull_agent_ProcessEntry_fields, &entry)) {
      return false;
    }
  }
  return true;
}

}  // namespace

EncodedFrame EncodedFrame::ProcessList(uint32_t request_id, std::span<const ListedProcess> entries,
                                       bool complete) {
  hull_agent_AgentMessage message = hull_agent_AgentMessage_init_zero;
  message.which_message = hull_agent_AgentMessage_process_list_tag;
  hull_agent_ProcessList& list = message.message.process_list;
  list.request_id = request_id;
  list.processes.funcs.encode = &EncodeEntries;
  list.processes.arg = &entries;
  list.complete = complete;
  return Encode(hull_agent_AgentMessage_fields, &message);
}

EncodedFrame EncodedFrame::Statistics(uint32_t request_id, const GuestStatistics& statistics) {
  hull_agent_AgentMessage message = hull_agent_AgentMessage_init_zero;
  message.which_message = hull_agent_AgentMessage_statistics_tag;
  message.message.statistics = {.request_id = request_id,
                                .memory_total_bytes = statistics.memory_total_bytes,
                                .memory_available_bytes = statistics.memory_available_bytes,
                                .memory_free_bytes = statistics.memory_free_bytes,
                                .cpus = statistics.cpus,
                                .cpu_busy_ms = statistics.cpu_busy_ms,
                                .processes = statistics.processes,
                                .threads = statistics.threads,
                                .block_read_bytes = statistics.block_read_bytes,
                                .block_written_bytes = statistics.block_written_bytes,
                                .block_reads = statistics.block_reads,
                                .block_writes = statistics.block_writes,
                                .uptime_ms = statistics.uptime_ms};
  return Encode(hull_agent_AgentMessage_fields, &message);
}

}  // namespace hull::agent
