// The frames between `hull`, the supervisor and hull-hostd: pure code, no descriptors.
//
// One frame: a 12-byte header, little-endian, then `length` bytes.
//
//   u32 session | u32 length | u8 type | u8 stream | u16 zero
//
// The same frames travel on two links. On the Unix socket between a `hull` command and the
// supervisor there is one session, whose number is 0. On the virtio-serial port between the
// supervisor and hull-hostd, session 0 is the link itself and every command has a number of its
// own, never reused while the emulated host is up. The supervisor only rewrites the number.
//
// Flow control is end to end and per stream: a sender starts with kStreamWindow bytes of credit
// and gets more by kCredit as the receiver's consumer takes bytes, so a blocked output of one
// command holds up nothing else and bounds what the supervisor has to buffer.

#ifndef VMM_EMULATED_HOST_PROTOCOL_H_
#define VMM_EMULATED_HOST_PROTOCOL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull::emulated_host {

// Of frames and payloads; raised with every incompatible change.
inline constexpr uint32_t kProtocolVersion = 1;

inline constexpr size_t kHeaderSize = 12;
// Of kData and of everything else but kOpen.
inline constexpr size_t kMaxPayload = 32 * 1024;
// kOpen carries arguments and environment, which Linux limits to 2 MiB by default.
inline constexpr size_t kMaxOpenPayload = 4 * 1024 * 1024;
inline constexpr uint32_t kStreamWindow = 1024 * 1024;

enum class FrameType : uint8_t {
  // Supervisor to command, first frame: u32 protocol version.
  kHello = 1,
  // hull-hostd to supervisor, once: u32 protocol version. Commands may be opened.
  kReady = 2,
  // Supervisor to hull-hostd, first frame: a BootConfig.
  kBoot = 3,
  // Answered by kPong with the same payload.
  kPing = 4,
  kPong = 5,
  // Supervisor to hull-hostd: end everything, sync, power off.
  kShutdown = 6,
  // Command to supervisor; no payload.
  kGetStatus = 7,
  // Its answer: a StatusReply.
  kStatus = 8,
  // Command to supervisor: shut the emulated host down. The connection closes when it is done.
  kStop = 9,
  // hull-hostd or supervisor, instead of an outcome: a Failure.
  kFailed = 10,
  // Command to supervisor; answered as kGetStatus when commands can run.
  kAwaitReady = 11,

  // Command to hull-hostd, once: an OpenRequest.
  kOpen = 16,
  // Its answer: started; or not: a Refusal.
  kOpened = 17,
  kRefused = 18,
  // Bytes of `stream`.
  kData = 19,
  // No more bytes of `stream` will come.
  kEnd = 20,
  // u32: the receiver of `stream` grants that many bytes more.
  kCredit = 21,
  // The receiver of `stream` is gone: its bytes are not wanted any more.
  kShut = 22,
  // u8 signal number, u8 whether for the whole process group.
  kSignal = 23,
  // u16 rows, u16 columns.
  kResize = 24,
  // hull-hostd to command, last frame of a session: an ExitReport.
  kExit = 25,
  // Supervisor to hull-hostd: the command's other end is gone; end the process.
  kClose = 26,
};

enum Stream : uint8_t { kStdin = 0, kStdout = 1, kStderr = 2 };

struct Frame {
  uint32_t session = 0;
  FrameType type = FrameType::kPing;
  uint8_t stream = 0;
  std::string payload;

  bool operator==(const Frame&) const = default;
};

// Appends the encoding of a frame to `out`. The payload must be within the type's limit.
void AppendFrame(const Frame& frame, std::string& out);
void AppendFrame(uint32_t session, FrameType type, uint8_t stream, absl::string_view payload,
                 std::string& out);

// Cuts a byte stream into frames. Not thread-safe.
class FrameDecoder {
 public:
  // Adds what was read from the link.
  void Append(absl::string_view bytes);
  // The next whole frame; nullopt when more bytes are needed. kInvalidArgument for a header that
  // no peer of this version sends; the link is then unusable.
  absl::StatusOr<std::optional<Frame>> Next();

 private:
  std::string buffer_;
  size_t position_ = 0;
};

// How to make a command's process. Field limits are those of kMaxOpenPayload.
struct OpenRequest {
  std::vector<std::string> argv;
  std::vector<std::string> environment;  // NAME=value
  std::string directory;                 // absolute
  uint32_t umask = 0;
  // Bit s: stream s is a terminal at the caller, and the same pty inside.
  uint8_t terminal_streams = 0;
  bool forward_stdin = false;
  // Of the caller's terminal, when terminal_streams is not 0.
  uint16_t rows = 0;
  uint16_t columns = 0;
  // The caller's terminal is in raw mode meanwhile: the pty does the echoing and the editing, with
  // the modes below. Otherwise the pty passes bytes through.
  bool raw = false;
  uint32_t input_flags = 0;
  uint32_t output_flags = 0;
  uint32_t local_flags = 0;
  std::array<uint8_t, 19> control_characters{};
  // The caller's clock, nanoseconds since the epoch; 0: leave the clock alone.
  uint64_t clock_ns = 0;

  bool operator==(const OpenRequest&) const = default;
};
std::string EncodeOpenRequest(const OpenRequest& request);
absl::StatusOr<OpenRequest> DecodeOpenRequest(absl::string_view payload);

struct BootConfig {
  std::string hull_root;  // absolute
  std::string hull_run;   // absolute
  std::string host_name;

  bool operator==(const BootConfig&) const = default;
};
std::string EncodeBootConfig(const BootConfig& config);
absl::StatusOr<BootConfig> DecodeBootConfig(absl::string_view payload);

struct StatusReply {
  bool ready = false;
  bool icount = false;
  uint32_t supervisor_pid = 0;
  uint32_t qemu_pid = 0;
  uint32_t sessions = 0;
  uint32_t cpus = 0;
  uint64_t memory_bytes = 0;
  uint64_t uptime_ns = 0;
  std::string trouble;

  bool operator==(const StatusReply&) const = default;
};
std::string EncodeStatusReply(const StatusReply& reply);
absl::StatusOr<StatusReply> DecodeStatusReply(absl::string_view payload);

struct Failure {
  // The command certainly did not run, and starting the emulated host again may help.
  bool retry = false;
  std::string message;

  bool operator==(const Failure&) const = default;
};
std::string EncodeFailure(const Failure& failure);
absl::StatusOr<Failure> DecodeFailure(absl::string_view payload);

// Why a process was not started.
struct Refusal {
  int32_t error = 0;  // errno
  std::string message;

  bool operator==(const Refusal&) const = default;
};
std::string EncodeRefusal(const Refusal& refusal);
absl::StatusOr<Refusal> DecodeRefusal(absl::string_view payload);

struct ExitReport {
  int32_t code = 0;
  int32_t signal = 0;
  // How many bytes of standard input reached the process, so that the caller can put the rest back
  // (a regular file's offset).
  uint64_t stdin_consumed = 0;

  bool operator==(const ExitReport&) const = default;
};
std::string EncodeExitReport(const ExitReport& report);
absl::StatusOr<ExitReport> DecodeExitReport(absl::string_view payload);

// Small payloads.
std::string EncodeU32(uint32_t value);
absl::StatusOr<uint32_t> DecodeU32(absl::string_view payload);
struct SignalRequest {
  uint8_t signal = 0;
  bool group = false;
};
std::string EncodeSignal(const SignalRequest& request);
absl::StatusOr<SignalRequest> DecodeSignal(absl::string_view payload);
struct WindowSize {
  uint16_t rows = 0;
  uint16_t columns = 0;
};
std::string EncodeResize(const WindowSize& size);
absl::StatusOr<WindowSize> DecodeResize(absl::string_view payload);

// The sending end of one stream: how much may be read from the local source, and when it is over.
class OutgoingStream {
 public:
  // How many bytes may be read and sent in one frame now; 0 while there is no credit or when done.
  size_t Allowance() const;
  // `bytes` <= Allowance() were sent.
  void Sent(size_t bytes) { credit_ -= static_cast<uint32_t>(bytes); }
  // The local source ended and kEnd was sent.
  void End() { done_ = true; }
  // kCredit from the peer. kInvalidArgument when the sum exceeds the window.
  absl::Status Credit(uint32_t bytes);
  // kShut from the peer.
  void Shut() { done_ = true; }
  // Nothing more is to be read from the source.
  bool done() const { return done_; }

 private:
  uint32_t credit_ = kStreamWindow;
  bool done_ = false;
};

// The receiving end of one stream: bytes wait here for the local consumer.
class IncomingStream {
 public:
  // kData from the peer. kInvalidArgument when it exceeds the credit or follows kEnd.
  absl::Status Data(absl::string_view bytes);
  // kEnd from the peer; kInvalidArgument the second time.
  absl::Status End();
  // What the consumer is to take next; empty when there is nothing.
  absl::string_view Pending() const { return absl::string_view(buffer_).substr(taken_); }
  // The consumer took `bytes` of Pending(). Returns the credit to send to the peer now, or 0: it is
  // returned in lumps, not frame by frame.
  uint32_t Take(size_t bytes);
  // The consumer is gone: what is here and what still comes is thrown away.
  void Abandon();
  // No byte is left and none will come.
  bool finished() const { return abandoned_ || (ended_ && Pending().empty()); }
  bool abandoned() const { return abandoned_; }
  // All bytes ever taken by the consumer.
  uint64_t total_taken() const { return total_taken_; }

 private:
  std::string buffer_;
  size_t taken_ = 0;
  uint32_t owed_ = 0;         // taken, but not yet returned as credit
  uint32_t outstanding_ = 0;  // received and not yet returned as credit
  uint64_t total_taken_ = 0;
  bool ended_ = false;
  bool abandoned_ = false;
};

}  // namespace hull::emulated_host

#endif  // VMM_EMULATED_HOST_PROTOCOL_H_
