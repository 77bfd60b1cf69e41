// The host's half of the agent protocol as pure functions: frames to send, and what was received.

#ifndef VMM_CONTAINER_AGENT_MESSAGES_H_
#define VMM_CONTAINER_AGENT_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/container/config.h"
#include "vmm/container/outcome.h"

namespace hull::container {

// The container's main process, in the protocol's numbering.
inline constexpr uint32_t kMainProcessId = 1;

// Whole frames (length and message), ready to be written to the control connection.
// kInvalidArgument if the container's arguments and environment exceed a frame.
absl::StatusOr<std::string> StartContainerFrames(const Config& config, uint64_t stream_token);
std::string SignalFrame(uint32_t signal);
std::string ShutdownFrame();

enum class ConnectionRole { kControl, kStdio, kStandardError };

// What a new connection says it is. kInvalidArgument for what does not decode, another process than
// the main one, or a token that is not `stream_token`; kFailedPrecondition, fit for the user, for
// an agent of another protocol version.
absl::StatusOr<ConnectionRole> ParseHello(std::span<const uint8_t> payload, uint64_t stream_token);

struct AgentEvent {
  enum class Kind {
    kStarted,      // the process runs
    kStartFailed,  // it never will; `outcome` is what the user is told
    kExited,       // `outcome` has its status
    kFatal,        // the agent gives up; `outcome` says why
    kNothing,      // a message of a newer agent
  };
  Kind kind = Kind::kNothing;
  Outcome outcome = {};
};

// kInvalidArgument for what does not decode or makes no sense.
absl::StatusOr<AgentEvent> ParseAgentMessage(std::span<const uint8_t> payload);

}  // namespace hull::container

#endif  // VMM_CONTAINER_AGENT_MESSAGES_H_
