// What a container is (config.json, of which only the name changes after creation) and how it
// stands (state.json). The files are described in README.md here.

#ifndef VMM_CONTAINER_CONFIG_H_
#define VMM_CONTAINER_CONFIG_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/container/mounts.h"

namespace hull::container {

// Raised when an older Hull would misunderstand the files.
inline constexpr uint64_t kConfigVersion = 3;
inline constexpr uint64_t kStateVersion = 2;

// The longest config.json or state.json that is read or written. What the agent takes for one
// container is 1 MiB; the escapes of JSON can double it.
inline constexpr size_t kMaxConfigBytes = size_t{4} << 20;

// 0: unknown.
struct TerminalSize {
  uint16_t rows = 0;
  uint16_t columns = 0;

  friend bool operator==(const TerminalSize&, const TerminalSize&) = default;
};

// The container's process, after the image's defaults and the user's options were merged. Strings
// are any bytes but NUL.
struct Process {
  std::vector<std::string> args = {};         // at least one
  std::vector<std::string> environment = {};  // NAME=VALUE
  std::string working_directory = {};         // absolute; empty: /
  std::string user = {};      // USER[:GROUP] as the image or the user gave it; empty: 0
  bool attach_stdin = false;  // reads the attached client's standard input
  // Its standard streams are a terminal, of that size at its start.
  bool terminal = false;
  TerminalSize terminal_size = {};

  friend bool operator==(const Process&, const Process&) = default;
};

// Where viewers find the screen of a pc machine (vmm/display).
struct Display {
  std::string protocol = {};       // "vnc"
  std::string address = {};        // in numbers, or the path of a Unix socket
  uint16_t port = 0;               // not 0, but with a Unix socket
  std::string password_file = {};  // path; empty: no password

  friend bool operator==(const Display&, const Display&) = default;
};

// What only a container that is a pc machine (vmm/machine/PC.md) has.
struct PcMachine {
  std::string boot = {};  // "floppy", "disk" or "cdrom"
  std::optional<Display> display = {};

  friend bool operator==(const PcMachine&, const PcMachine&) = default;
};

struct Config {
  std::string id = {};    // satisfies IsId()
  std::string name = {};  // satisfies ValidateName()
  int64_t created_unix_ms = 0;

  std::string image = {};         // as the store names it
  std::string image_digest = {};  // sha256:...
  std::string root_image = {};    // path of the EROFS file, or of the pc machine's disk

  Process process;
  std::string hostname = {};
  bool read_only = false;
  bool console = false;  // the guest's serial console is shown to the attached client
  bool remove = false;   // the container is removed when it has ended

  uint32_t cpus = 0;
  uint64_t cpu_millis = 0;  // thousandths of a processor's time for all of them together
  uint64_t memory_bytes = 0;
  // Size of the disk that takes what the container writes to its root (storage.h); 0: that is kept
  // in the guest's memory, and is gone when it ends.
  uint64_t storage_bytes = 0;
  std::vector<Mount> mounts = {};  // in the order in which they are mounted; satisfy ValidateMounts

  std::vector<std::string> labels = {};  // KEY=VALUE, sorted, each key once
  uint32_t stop_signal = 15;             // what `hull stop` sends first
  uint32_t stop_timeout_seconds = 10;    // and how long it waits before it kills
  // Nothing: a micro machine.
  std::optional<PcMachine> pc = {};
  // What the process prints is kept in the container's directory (log_format.h), in files of at
  // most so many bytes; 0: not at all.
  uint64_t log_max_bytes = 0;

  friend bool operator==(const Config&, const Config&) = default;
};

// Whether anything of what it writes outlives its machine.
bool HasDisks(const Config& config);

enum class Status {
  kCreated,  // never started
  kRunning,  // only while the monitor holds the container's lock: see ContainerStore
  kPaused,   // likewise; no vCPU runs
  kExited,   // the process ran and has ended
  kFailed,   // Hull or the machine failed; `error` says how
};

// Whether it is one of a container that has processes.
inline bool IsLive(Status status) {
  return status == Status::kRunning || status == Status::kPaused;
}

struct State {
  Status status = Status::kRunning;
  int64_t started_unix_ms = 0;   // 0: never
  int64_t finished_unix_ms = 0;  // 0: never, or it runs
  int32_t monitor_pid = 0;       // 0 unless running
  int32_t vmm_pid = 0;           // 0 unless running
  int32_t exit_status = 0;       // as `hull run` reports it: 0 to 255
  std::string error = {};

  friend bool operator==(const State&, const State&) = default;
};

std::string SerializeConfig(const Config& config);
std::string SerializeState(const State& state);
const char* StatusName(Status status);

// kInvalidArgument, naming the field, if `text` is not what the Serialize function writes: unknown,
// missing or mistyped fields are errors. kFailedPrecondition for another version.
absl::StatusOr<Config> ParseConfig(absl::string_view text);
absl::StatusOr<State> ParseState(absl::string_view text);

}  // namespace hull::container

#endif  // VMM_CONTAINER_CONFIG_H_
