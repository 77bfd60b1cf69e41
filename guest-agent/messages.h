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
  kStartProcess,
  kSignalProcess,
  kResizeTerminal,
  kListProcesses,
  kGetStatistics,
  kShutdown,
};

// Decodes one HostMessage at a time. Large (1.3 MiB, mostly never touched): make it static and
// constinit, where nothing is written to make it zero.
class HostMessageDecoder {
 public:
  HostMessageType Decode(std::span<const uint8_t> payload);

  // After kInvalid.
  std::string_view explanation() const { return explanation_.view(); }
  // After kWelcome.
  uint32_t version() const { return version_; }
  // After kStartContainer and kStartProcess (which sets nothing that is about the container). Until
  // the next of these is decoded.
  StartRequest& start() { return start_; }
  // After kSignalProcess and kResizeTerminal: whom it is for.
  uint32_t process_id() const { return process_id_; }
  // After kSignalProcess.
  int signal() const { return signal_; }
  // After kResizeTerminal.
  WindowSize terminal_size() const { return terminal_size_; }
  // After kListProcesses and kGetStatistics.
  uint32_t request_id() const { return request_id_; }
  // After kListProcesses.
  uint32_t after_pid() const { return after_pid_; }

 private:
  friend struct DecodeCallbacks;

  // Both set explanation().
  bool Refuse(std::initializer_list<std::string_view> why);  // always false
  HostMessageType Invalid(std::initializer_list<std::string_view> why);
  // A bytes field of nanopb's as a C string in the arena. Null: it holds a NUL.
  template <typename Bytes>
  const char* StoreName(const Bytes& bytes);
  // Check what nanopb has decoded and put it into start_. False: explanation() says why not.
  bool TakeContainer(const void* container_spec);
  bool TakeProcess(const void* process_spec);
  // Copies `size` bytes of a stream into the arena and ends them with NUL. Null: no room.
  char* Store(const void* bytes, size_t size);

  StartRequest start_ = {};
  uint32_t version_ = 0;
  uint32_t process_id_ = 0;
  int signal_ = 0;
  WindowSize terminal_size_ = {};
  uint32_t request_id_ = 0;
  uint32_t after_pid_ = 0;
  Explanation explanation_;
  size_t arena_used_ = 0;
  // Every string costs two bytes of encoding at least and one byte of NUL here, so a frame always
  // fits; the 64 bytes are for the NULs of absent fields.
  char arena_[kMaxHostMessageBytes + 64] = {};
};

enum class StartFailure { kInternal, kNotFound, kNotExecutable, kInvalidSpec };

enum class StreamKind { kStdio, kStandardError };

// ListedProcess of the schema.
struct ListedProcess {
  uint32_t pid = 0;
  uint32_t parent_pid = 0;
  uint32_t uid = 0;
  FixedText<32> user;
  char state = '?';
  uint64_t cpu_time_ms = 0;
  uint64_t elapsed_ms = 0;
  uint32_t terminal = 0;
  FixedText<256> command;
};

// Entries in one ProcessList: as many of the longest as a frame holds.
inline constexpr size_t kMaxListedProcesses = 11;

// Statistics of the schema.
struct GuestStatistics {
  uint64_t memory_total_bytes = 0;
  uint64_t memory_available_bytes = 0;
  uint64_t memory_free_bytes = 0;
  uint32_t cpus = 0;
  uint64_t cpu_busy_ms = 0;
  uint32_t processes = 0;
  uint32_t threads = 0;
  uint64_t block_read_bytes = 0;
  uint64_t block_written_bytes = 0;
  uint64_t block_reads = 0;
  uint64_t block_writes = 0;
  uint64_t uptime_ms = 0;
};

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
  // `entries` are at most kMaxListedProcesses.
  static EncodedFrame ProcessList(uint32_t request_id, std::span<const ListedProcess> entries,
                                  bool complete);
  static EncodedFrame Statistics(uint32_t request_id, const GuestStatistics& statistics);

  std::span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  EncodedFrame() = default;
  // `fields` is a nanopb message descriptor, `message` the structure that it describes.
  static EncodedFrame Encode(const void* fields, const void* message);

  uint8_t data_[kFrameHeaderBytes + kMaxAgentMessageBytes];
  size_t size_ = 0;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_MESSAGES_H_
