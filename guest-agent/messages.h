// Messages of the agent protocol, from and to their encoded form (nanopb). Pure: no system calls.

#ifndef GUEST_AGENT_MESSAGES_H_
#define GUEST_AGENT_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "guest-agent/protocol/framing.h"
#include "guest-agent/start_request.h"
#include "guest-agent/text.h"

namespace hull::agent {

inline constexpr uint32_t kProtocolVersion = 1;

// Longest explanation in StartFailed and Fatal.
inline constexpr size_t kMaxExplanation = 1000;
using Explanation = FixedText<kMaxExplanation>;

enum class HostMessageType {
  kInvalid,  // does not decode or breaks a bound; explanation() says which
  kUnknown,  // a message of a newer schema: to be ignored
  kWelcome,
  kStartContainer,
  kSignalProcess,
  kShutdown,
};

// Decodes one HostMessage at a time. Large (1.3 MiB, mostly never touched): make it static, where
// it is zero-initialised.
class HostMessageDecoder {
 public:
  HostMessageType Decode(std::span<const uint8_t> payload);

  // After kInvalid.
  std::string_view explanation() const { return explanation_.view(); }
  // After kWelcome.
  uint32_t version() const { return version_; }
  // After kStartContainer. Until the next kStartContainer is decoded.
  StartRequest& start() { return start_; }
  // After kSignalProcess.
  uint32_t signal_process_id() const { return signal_process_id_; }
  int signal() const { return signal_; }

 private:
  friend struct DecodeCallbacks;

  HostMessageType Invalid(std::initializer_list<std::string_view> why);
  // Copies `size` bytes of a stream into the arena and ends them with NUL. Null: no room.
  char* Store(const void* bytes, size_t size);

  StartRequest start_;
  uint32_t version_;
  uint32_t signal_process_id_;
  int signal_;
  Explanation explanation_;
  size_t arena_used_;
  // Every string costs two bytes of encoding at least and one byte of NUL here, so a frame always
  // fits; the 64 bytes are for the NULs of absent fields.
  char arena_[kMaxHostMessageBytes + 64];
};

enum class StartFailure { kInternal, kNotFound, kNotExecutable, kInvalidSpec };

enum class StreamKind { kStdio, kStandardError };

// One encoded frame, header included; empty if it did not fit, which the bounds above rule out.
class EncodedFrame {
 public:
  static EncodedFrame ControlHello();
  static EncodedFrame StreamHello(StreamKind kind, uint32_t process_id, uint64_t token);
  static EncodedFrame Started(uint32_t process_id, uint32_t pid);
  static EncodedFrame StartFailed(uint32_t process_id, StartFailure kind, std::string_view why);
  // `wait_status` is what waitpid(2) gave for a process that ended.
  static EncodedFrame Exited(uint32_t process_id, int wait_status);
  static EncodedFrame Fatal(std::string_view why);

  std::span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  EncodedFrame() = default;
  // `fields` is a nanopb message descriptor, `message` the structure that it describes.
  static EncodedFrame Encode(const void* fields, const void* message);

  uint8_t data_[kFrameHeaderBytes + 1100];
  size_t size_ = 0;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_MESSAGES_H_
