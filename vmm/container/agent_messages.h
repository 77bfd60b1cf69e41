// The host's half of the agent protocol as pure functions: frames to send, and what was received.

#ifndef VMM_CONTAINER_AGENT_MESSAGES_H_
#define VMM_CONTAINER_AGENT_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/container/config.h"
#include "vmm/container/exec_request.h"
#include "vmm/container/outcome.h"

namespace hull::container {

// The container's main process, in the protocol's numbering.
inline constexpr uint32_t kMainProcessId = 1;

// Further processes that the agent runs at a time.
inline constexpr size_t kMaxFurtherProcesses = 64;

// Whole frames (length and message), ready to be written to the control connection.
// kInvalidArgument if the arguments and environment exceed a frame.
absl::StatusOr<std::string> StartContainerFrames(const Config& config, uint64_t stream_token);
absl::StatusOr<std::string> StartProcessFrame(uint32_t process_id, uint64_t stream_token,
                                              const ExecRequest& request);
std::string SignalFrame(uint32_t process_id, uint32_t signal);
std::string ResizeTerminalFrame(uint32_t process_id, const TerminalSize& size);
std::string ListProcessesFrame(uint32_t request_id, uint32_t after_pid);
std::string GetStatisticsFrame(uint32_t request_id);
std::string ShutdownFrame();

enum class ConnectionRole { kControl, kStdio, kStandardError };

// What a new connection says it is. For a stream it is to be believed if the token is the one that
// the host chose for that process.
struct GuestHello {
  ConnectionRole role = ConnectionRole::kControl;
  uint32_t process_id = 0;
  uint64_t token = 0;
};

// kInvalidArgument for what does not decode; kFailedPrecondition, fit for the user, for an agent of
// another protocol version.
absl::StatusOr<GuestHello> ParseHello(std::span<const uint8_t> payload);

// A process of the container, as the guest says. Text is any bytes.
struct ListedProcess {
  uint32_t pid = 0;         // in the container
  uint32_t parent_pid = 0;  // 0: outside the container
  uint32_t uid = 0;
  std::string user;  // empty: nobody's name there
  char state = '?';  // a letter of ps(1)
  uint64_t cpu_time_ms = 0;
  uint64_t elapsed_ms = 0;
  uint32_t terminal = 0;  // device number; 0: none
  std::string command;
};

// At most kMaxListedProcesses, pids ascending. Not complete: ask again after the last.
struct ProcessPage {
  uint32_t request_id = 0;
  std::vector<ListedProcess> processes;
  bool complete = false;
};
inline constexpr int kMaxListedProcesses = 11;

// Of the whole guest, counted since its boot; as the guest says.
struct GuestStatistics {
  uint32_t request_id = 0;
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

// An answer as one string, for another process of Hull's, and back. kInvalidArgument for what is
// not such a string, or has too many or misnumbered processes.
absl::StatusOr<ProcessPage> ParseProcessPage(absl::string_view answer);
absl::StatusOr<GuestStatistics> ParseStatistics(absl::string_view answer);

struct AgentEvent {
  enum class Kind {
    kStarted,      // the process runs
    kStartFailed,  // it never will; `outcome` is what the user is told
    kExited,       // `outcome` has its status
    kFatal,        // the agent gives up; `outcome` says why
    kProcesses,    // `answer` for ParseProcessPage(), which it satisfies
    kStatistics,   // `answer` for ParseStatistics(), likewise
    kNothing,      // a message of a newer agent
  };
  Kind kind = Kind::kNothing;
  uint32_t process_id = 0;  // of the first three
  Outcome outcome = {};
  std::string answer = {};
};

// kInvalidArgument for what does not decode or makes no sense. Whether there is such a process, or
// was such a question, is for the caller to know.
absl::StatusOr<AgentEvent> ParseAgentMessage(std::span<const uint8_t> payload);

}  // namespace hull::container

#endif  // VMM_CONTAINER_AGENT_MESSAGES_H_
