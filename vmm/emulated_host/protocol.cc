#include "vmm/emulated_host/protocol.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "vmm/base/status_macros.h"

namespace hull::emulated_host {
namespace {

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("malformed frame: ", what));
}

bool IsFrameType(uint8_t type) {
  return (type >= static_cast<uint8_t>(FrameType::kHello) &&
          type <= static_cast<uint8_t>(FrameType::kAwaitReady)) ||
         (type >= static_cast<uint8_t>(FrameType::kOpen) &&
          type <= static_cast<uint8_t>(FrameType::kClose));
}

template <typename T>
void Put(T value, std::string& out) {
  static_assert(std::is_unsigned_v<T>);
  for (size_t i = 0; i < sizeof(T); ++i) {
    out.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
  }
}

void PutString(absl::string_view value, std::string& out) {
  Put(static_cast<uint32_t>(value.size()), out);
  out.append(value.data(), value.size());
}

void PutStrings(const std::vector<std::string>& values, std::string& out) {
  Put(static_cast<uint32_t>(values.size()), out);
  for (const std::string& value : values) PutString(value, out);
}

// Takes fields off the front of a payload; after the first field that does not fit, everything
// reads as zero and ok() is false.
class PayloadReader {
 public:
  explicit PayloadReader(absl::string_view payload) : rest_(payload) {}

  template <typename T>
  T Take() {
    static_assert(std::is_unsigned_v<T>);
    if (rest_.size() < sizeof(T)) {
      ok_ = false;
      rest_ = {};
      return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) {
      value |= static_cast<uint64_t>(static_cast<uint8_t>(rest_[i])) << (8 * i);
    }
    rest_.remove_prefix(sizeof(T));
    return static_cast<T>(value);
  }

  std::string TakeString() {
    const uint32_t size = Take<uint32_t>();
    if (size > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    std::string value(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return value;
  }

  std::vector<std::string> TakeStrings() {
    const uint32_t count = Take<uint32_t>();
    std::vector<std::string> values;
    // No reservation by the peer's count: every element takes four bytes of the payload at least.
    for (uint32_t i = 0; i < count && ok_; ++i) values.push_back(TakeString());
    return values;
  }

  absl::Status Finish(absl::string_view what) const {
    if (!ok_ || !rest_.empty()) return Malformed(what);
    return absl::OkStatus();
  }

 private:
  absl::string_view rest_;
  bool ok_ = true;
};

// A string that becomes a C string: a NUL inside would cut it.
bool HasNul(absl::string_view value) { return value.find('\0') != absl::string_view::npos; }

bool AnyHasNul(const std::vector<std::string>& values) {
  return std::any_of(values.begin(), values.end(), [](const auto& v) { return HasNul(v); });
}

bool IsAbsolutePath(absl::string_view path) {
  return !path.empty() && path.front() == '/' && !HasNul(path);
}

}  // namespace

void AppendFrame(uint32_t session, FrameType type, uint8_t stream, absl::string_view payload,
                 std::string& out) {
  Put(session, out);
  Put(static_cast<uint32_t>(payload.size()), out);
  Put(static_cast<uint8_t>(type), out);
  Put(stream, out);
  Put(uint16_t{0}, out);
  out.append(payload.data(), payload.size());
}

void AppendFrame(const Frame& frame, std::string& out) {
  AppendFrame(frame.session, frame.type, frame.stream, frame.payload, out);
}

void FrameDecoder::Append(absl::string_view bytes) {
  // What was cut off already is dropped only when it is the larger part, so that every byte is
  // moved a bounded number of times.
  if (position_ > buffer_.size() / 2) {
    buffer_.erase(0, position_);
    position_ = 0;
  }
  buffer_.append(bytes.data(), bytes.size());
}

absl::StatusOr<std::optional<Frame>> FrameDecoder::Next() {
  const absl::string_view rest = absl::string_view(buffer_).substr(position_);
  if (rest.size() < kHeaderSize) return std::nullopt;
  PayloadReader header(rest.substr(0, kHeaderSize));
  Frame frame;
  frame.session = header.Take<uint32_t>();
  const uint32_t length = header.Take<uint32_t>();
  const uint8_t type = header.Take<uint8_t>();
  frame.stream = header.Take<uint8_t>();
  const uint16_t zero = header.Take<uint16_t>();
  if (!IsFrameType(type)) return Malformed("unknown type");
  frame.type = static_cast<FrameType>(type);
  if (frame.stream > kStderr || zero != 0) return Malformed("header");
  if (length > (frame.type == FrameType::kOpen ? kMaxOpenPayload : kMaxPayload)) {
    return Malformed("too long");
  }
  if (rest.size() - kHeaderSize < length) return std::nullopt;
  frame.payload.assign(rest.data() + kHeaderSize, length);
  position_ += kHeaderSize + length;
  return frame;
}

std::string EncodeOpenRequest(const OpenRequest& request) {
  std::string out;
  PutStrings(request.argv, out);
  PutStrings(request.environment, out);
  PutString(request.directory, out);
  Put(request.umask, out);
  Put(request.terminal_streams, out);
  Put(static_cast<uint8_t>(request.forward_stdin), out);
  Put(request.rows, out);
  Put(request.columns, out);
  Put(static_cast<uint8_t>(request.raw), out);
  Put(request.input_flags, out);
  Put(request.output_flags, out);
  Put(request.local_flags, out);
  for (const uint8_t c : request.control_characters) Put(c, out);
  Put(request.clock_ns, out);
  return out;
}

absl::StatusOr<OpenRequest> DecodeOpenRequest(absl::string_view payload) {
  PayloadReader reader(payload);
  OpenRequest request;
  request.argv = reader.TakeStrings();
  request.environment = reader.TakeStrings();
  request.directory = reader.TakeString();
  request.umask = reader.Take<uint32_t>();
  request.terminal_streams = reader.Take<uint8_t>();
  request.forward_stdin = reader.Take<uint8_t>() != 0;
  request.rows = reader.Take<uint16_t>();
  request.columns = reader.Take<uint16_t>();
  request.raw = reader.Take<uint8_t>() != 0;
  request.input_flags = reader.Take<uint32_t>();
  request.output_flags = reader.Take<uint32_t>();
  request.local_flags = reader.Take<uint32_t>();
  for (uint8_t& c : request.control_characters) c = reader.Take<uint8_t>();
  request.clock_ns = reader.Take<uint64_t>();
  HULL_RETURN_IF_ERROR(reader.Finish("open"));
  if (request.argv.empty() || AnyHasNul(request.argv) || AnyHasNul(request.environment)) {
    return Malformed("open: arguments or environment");
  }
  if (!IsAbsolutePath(request.directory)) return Malformed("open: directory");
  if (request.umask > 0777) return Malformed("open: umask");
  if (request.terminal_streams > 7) return Malformed("open: terminal streams");
  return request;
}

std::string EncodeBootConfig(const BootConfig& config) {
  std::string out;
  PutString(config.hull_root, out);
  PutString(config.hull_run, out);
  PutString(config.host_name, out);
  return out;
}

absl::StatusOr<BootConfig> DecodeBootConfig(absl::string_view payload) {
  PayloadReader reader(payload);
  BootConfig config;
  config.hull_root = reader.TakeString();
  config.hull_run = reader.TakeString();
  config.host_name = reader.TakeString();
  HULL_RETURN_IF_ERROR(reader.Finish("boot"));
  if (!IsAbsolutePath(config.hull_root) || !IsAbsolutePath(config.hull_run)) {
    return Malformed("boot: paths");
  }
  return config;
}

std::string EncodeStatusReply(const StatusReply& reply) {
  std::string out;
  Put(static_cast<uint8_t>(reply.ready), out);
  Put(static_cast<uint8_t>(reply.icount), out);
  Put(reply.supervisor_pid, out);
  Put(reply.qemu_pid, out);
  Put(reply.sessions, out);
  Put(reply.cpus, out);
  Put(reply.memory_bytes, out);
  Put(reply.uptime_ns, out);
  PutString(reply.trouble, out);
  return out;
}

absl::StatusOr<StatusReply> DecodeStatusReply(absl::string_view payload) {
  PayloadReader reader(payload);
  StatusReply reply;
  reply.ready = reader.Take<uint8_t>() != 0;
  reply.icount = reader.Take<uint8_t>() != 0;
  reply.supervisor_pid = reader.Take<uint32_t>();
  reply.qemu_pid = reader.Take<uint32_t>();
  reply.sessions = reader.Take<uint32_t>();
  reply.cpus = reader.Take<uint32_t>();
  reply.memory_bytes = reader.Take<uint64_t>();
  reply.uptime_ns = reader.Take<uint64_t>();
  reply.trouble = reader.TakeString();
  HULL_RETURN_IF_ERROR(reader.Finish("status"));
  return reply;
}

std::string EncodeFailure(const Failure& failure) {
  std::string out;
  Put(static_cast<uint8_t>(failure.retry), out);
  // Log lines end up here: cut rather than refused.
  PutString(absl::string_view(failure.message).substr(0, kMaxPayload / 2), out);
  return out;
}

absl::StatusOr<Failure> DecodeFailure(absl::string_view payload) {
  PayloadReader reader(payload);
  Failure failure;
  failure.retry = reader.Take<uint8_t>() != 0;
  failure.message = reader.TakeString();
  HULL_RETURN_IF_ERROR(reader.Finish("failure"));
  return failure;
}

std::string EncodeRefusal(const Refusal& refusal) {
  std::string out;
  Put(static_cast<uint32_t>(refusal.error), out);
  PutString(absl::string_view(refusal.message).substr(0, kMaxPayload / 2), out);
  return out;
}

absl::StatusOr<Refusal> DecodeRefusal(absl::string_view payload) {
  PayloadReader reader(payload);
  Refusal refusal;
  refusal.error = static_cast<int32_t>(reader.Take<uint32_t>());
  refusal.message = reader.TakeString();
  HULL_RETURN_IF_ERROR(reader.Finish("refusal"));
  return refusal;
}

std::string EncodeExitReport(const ExitReport& report) {
  std::string out;
  Put(static_cast<uint32_t>(report.code), out);
  Put(static_cast<uint32_t>(report.signal), out);
  Put(report.stdin_consumed, out);
  return out;
}

absl::StatusOr<ExitReport> DecodeExitReport(absl::string_view payload) {
  PayloadReader reader(payload);
  ExitReport report;
  report.code = static_cast<int32_t>(reader.Take<uint32_t>());
  report.signal = static_cast<int32_t>(reader.Take<uint32_t>());
  report.stdin_consumed = reader.Take<uint64_t>();
  HULL_RETURN_IF_ERROR(reader.Finish("exit"));
  if (report.code < 0 || report.code > 255 || report.signal < 0 || report.signal > 64) {
    return Malformed("exit: out of range");
  }
  return report;
}

std::string EncodeU32(uint32_t value) {
  std::string out;
  Put(value, out);
  return out;
}

absl::StatusOr<uint32_t> DecodeU32(absl::string_view payload) {
  PayloadReader reader(payload);
  const uint32_t value = reader.Take<uint32_t>();
  HULL_RETURN_IF_ERROR(reader.Finish("number"));
  return value;
}

std::string EncodeSignal(const SignalRequest& request) {
  std::string out;
  Put(request.signal, out);
  Put(static_cast<uint8_t>(request.group), out);
  return out;
}

absl::StatusOr<SignalRequest> DecodeSignal(absl::string_view payload) {
  PayloadReader reader(payload);
  SignalRequest request;
  request.signal = reader.Take<uint8_t>();
  request.group = reader.Take<uint8_t>() != 0;
  HULL_RETURN_IF_ERROR(reader.Finish("signal"));
  if (request.signal == 0 || request.signal > 64) return Malformed("signal: out of range");
  return request;
}

std::string EncodeResize(const WindowSize& size) {
  std::string out;
  Put(size.rows, out);
  Put(size.columns, out);
  return out;
}

absl::StatusOr<WindowSize> DecodeResize(absl::string_view payload) {
  PayloadReader reader(payload);
  WindowSize size;
  size.rows = reader.Take<uint16_t>();
  size.columns = reader.Take<uint16_t>();
  HULL_RETURN_IF_ERROR(reader.Finish("resize"));
  return size;
}

size_t OutgoingStream::Allowance() const {
  return done_ ? 0 : std::min<size_t>(credit_, kMaxPayload);
}

absl::Status OutgoingStream::Credit(uint32_t bytes) {
  if (bytes > kStreamWindow - credit_) return Malformed("more credit than the window");
  credit_ += bytes;
  return absl::OkStatus();
}

absl::Status IncomingStream::Data(absl::string_view bytes) {
  if (ended_) return Malformed("data after the end of the stream");
  if (bytes.size() > kStreamWindow - outstanding_) return Malformed("more data than credit");
  // Abandoned bytes stay outstanding: without credit the sender stops by itself.
  outstanding_ += static_cast<uint32_t>(bytes.size());
  if (abandoned_) return absl::OkStatus();
  if (taken_ > buffer_.size() / 2) {
    buffer_.erase(0, taken_);
    taken_ = 0;
  }
  buffer_.append(bytes.data(), bytes.size());
  return absl::OkStatus();
}

absl::Status IncomingStream::End() {
  if (ended_) return Malformed("second end of the stream");
  ended_ = true;
  return absl::OkStatus();
}

uint32_t IncomingStream::Take(size_t bytes) {
  taken_ += bytes;
  total_taken_ += bytes;
  owed_ += static_cast<uint32_t>(bytes);
  if (taken_ == buffer_.size()) {
    buffer_.clear();
    taken_ = 0;
  }
  if (ended_ || owed_ < kStreamWindow / 4) return 0;
  outstanding_ -= owed_;
  return std::exchange(owed_, 0);
}

void IncomingStream::Abandon() {
  abandoned_ = true;
  buffer_.clear();
  taken_ = 0;
}

}  // namespace hull::emulated_host
