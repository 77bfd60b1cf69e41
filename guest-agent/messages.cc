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

  static bool Refuse(HostMessageDecoder& self, std::initializer_list<std::string_view> why) {
    self.explanation_.Assign(why);
    return false;
  }

  // As ReadAll(), for what becomes a C string.
  static char* ReadString(pb_istream_t* stream, HostMessageDecoder& self, std::string_view what) {
    size_t size = 0;
    char* const at = ReadAll(stream, self, &size);
    if (at != nullptr && std::memchr(at, '\0', size) != nullptr) {
      Refuse(self, {what, " holds a NUL byte"});
      return nullptr;
    }
    return at;
  }

  static bool Argument(pb_istream_t* stream, const pb_field_t*, void** arg) {
    HostMessageDecoder& self = Self(arg);
    if (self.start_.arg_count == kMaxArgs) return Refuse(self, {"too many args"});
    const char* const text = ReadString(stream, self, "an argument");
    if (text == nullptr) return false;
    self.start_.args[self.start_.arg_count++] = text;
    self.start_.args[self.start_.arg_count] = nullptr;
    return true;
  }

  static bool Variable(pb_istream_t* stream, const pb_field_t*, void** arg) {
    HostMessageDecoder& self = Self(arg);
    if (self.start_.environment_count == kMaxEnvironment) {
      return Refuse(self, {"too many environment variables"});
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
    if (self.start_.file_count == kMaxFiles) return Refuse(self, {"too many files"});
    FileRequest& file = self.start_.files[self.start_.file_count];
    file = {};
    hull_agent_File message = hull_agent_File_init_zero;
    message.path = {{.decode = &FilePath}, *arg};
    message.content = {{.decode = &FileContent}, *arg};
    if (!pb_decode(stream, hull_agent_File_fields, &message)) return false;
    if (file.path == nullptr || file.path[0] != '/') {
      return Refuse(self, {"a file's path is not absolute"});
    }
    if (message.mode > 07777) return Refuse(self, {"a file's mode is not permission bits"});
    file.mode = message.mode;
    ++self.start_.file_count;
    return true;
  }

  // Called when nanopb has seen which member of the oneof follows, before it decodes that member.
  static bool Member(pb_istream_t*, const pb_field_t* field, void** arg) {
    if (field->tag != hull_agent_HostMessage_start_container_tag) return true;
    HostMessageDecoder& self = Self(arg);
    self.start_.Clear();
    self.arena_used_ = 0;
    auto* const start = static_cast<hull_agent_StartContainer*>(field->pData);
    start->container.files = {{.decode = &File}, *arg};
    start->process.args = {{.decode = &Argument}, *arg};
    start->process.environment = {{.decode = &Variable}, *arg};
    start->process.working_directory = {{.decode = &WorkingDirectory}, *arg};
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

HostMessageType HostMessageDecoder::Invalid(std::initializer_list<std::string_view> why) {
  explanation_.Assign(why);
  return HostMessageType::kInvalid;
}

HostMessageType HostMessageDecoder::Decode(std::span<const uint8_t> payload) {
  explanation_.Assign({});
  hull_agent_HostMessage message = hull_agent_HostMessage_init_zero;
  message.cb_message = {{.decode = &DecodeCallbacks::Member}, this};
  pb_istream_t stream = pb_istream_from_buffer(payload.data(), payload.size());
  if (!pb_decode(&stream, hull_agent_HostMessage_fields, &message)) {
    if (explanation_.view().empty()) return Invalid({"does not decode: ", PB_GET_ERROR(&stream)});
    return HostMessageType::kInvalid;
  }

  switch (message.which_message) {
    case hull_agent_HostMessage_welcome_tag:
      version_ = message.message.welcome.version;
      return HostMessageType::kWelcome;

    case hull_agent_HostMessage_signal_process_tag:
      if (message.message.signal_process.signal < 1 || message.message.signal_process.signal > 64) {
        return Invalid({"no such signal"});
      }
      signal_process_id_ = message.message.signal_process.process_id;
      signal_ = static_cast<int>(message.message.signal_process.signal);
      return HostMessageType::kSignalProcess;

    case hull_agent_HostMessage_shutdown_tag:
      return HostMessageType::kShutdown;

    case hull_agent_HostMessage_start_container_tag:
      break;  // below

    default:
      return HostMessageType::kUnknown;
  }

  const hull_agent_ContainerSpec& container = message.message.start_container.container;
  const hull_agent_ProcessSpec& process = message.message.start_container.process;
  // The bounds of agent.options make these short, so they fit into what the frame left.
  const auto store = [this](const auto& bytes) -> const char* {
    const char* const text = Store(bytes.bytes, bytes.size);
    return text != nullptr && std::memchr(text, '\0', bytes.size) == nullptr ? text : nullptr;
  };
  const char* const hostname = store(container.hostname);
  const char* const user = store(process.user);
  start_.root.device = store(container.root.device);
  start_.root.filesystem_type = store(container.root.filesystem_type);
  if (hostname == nullptr || user == nullptr || start_.root.device == nullptr ||
      start_.root.filesystem_type == nullptr) {
    return Invalid({"a name holds a NUL byte"});
  }
  if (*start_.root.device == '\0' || *start_.root.filesystem_type == '\0') {
    return Invalid({"no root device or no filesystem type"});
  }
  if (container.root.which_writable_layer != hull_agent_RootFilesystem_tmpfs_tag) {
    return Invalid({"no writable layer of a kind that this agent knows"});
  }
  if (process.process_id == 0) return Invalid({"process_id is 0"});
  if (start_.arg_count == 0 || start_.args[0][0] == '\0') return Invalid({"no command"});
  if (start_.working_directory[0] != '/') return Invalid({"the working directory is not absolute"});
  if (process.has_umask && process.umask > 0777) return Invalid({"umask is not permission bits"});

  start_.hostname = {hostname, container.hostname.size};
  start_.user = {user, process.user.size};
  start_.root.read_only = container.root.read_only;
  start_.root.tmpfs_bytes = container.root.writable_layer.tmpfs.size_bytes;
  start_.process_id = process.process_id;
  start_.stream_token = process.stream_token;
  start_.attach_stdin = process.attach_stdin;
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
  return HostMessageType::kStartContainer;
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

}  // namespace hull::agent
