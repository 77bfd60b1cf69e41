// The directories of all containers: who exists, under which name, and who is alive.
//
//   <root>/containers/<id>/     config.json, state.json, logs: what outlives the container's
//   processes <root>/names/<name>         symbolic link to <id> <run>/<short id>/           sockets
//   of a container that runs, and its `lock` <run>/containers.lock       orders creation against
//   collection (see container_store.cc)
//
// A container is alive exactly while somebody holds the flock(2) of its `lock`: first the command
// that creates or starts it, then its monitor; or a command that changes it while it has no
// processes. The kernel drops the lock with the last of them, however they end, so what a dead
// container left is recognised with certainty and collected by a later command.

#ifndef VMM_CONTAINER_CONTAINER_STORE_H_
#define VMM_CONTAINER_CONTAINER_STORE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/config.h"

namespace hull::container {

// Longest path of the run directory that leaves room for the sockets in it: sun_path holds 108
// bytes (unix(7)), and the guest's port is appended to the longest name.
inline constexpr size_t kMaxRunPathBytes = 72;

struct StorePaths {
  std::string root;  // $HULL_ROOT, absolute
  std::string run;   // $HULL_RUN, absolute, at most kMaxRunPathBytes
};

struct ContainerInfo {
  Config config;
  State state;         // true: one that IsLive() belongs to a container that is alive
  bool alive = false;  // somebody holds its lock
};

// Not thread-safe; any number of processes may use the same directories at once.
class ContainerStore {
 public:
  // Creates the directories that are missing (mode 0700).
  static absl::StatusOr<std::unique_ptr<ContainerStore>> Open(StorePaths paths);
  virtual ~ContainerStore() = default;

  // Makes the container's directories and writes config.json; `config` is complete, with a new id
  // and a name. Returns the container's lock, held: hand it to the monitor. kAlreadyExists if the
  // name is in use. Nothing is left behind on an error.
  virtual absl::StatusOr<UniqueFd> Create(const Config& config) = 0;

  // The lock of a container that exists and has no processes, for starting or changing it.
  // kFailedPrecondition if it has some, or another command has it at the moment.
  virtual absl::StatusOr<UniqueFd> Acquire(absl::string_view id) = 0;

  virtual absl::StatusOr<Config> ReadConfig(absl::string_view id) = 0;
  // kNotFound if there is no such container.
  virtual absl::StatusOr<ContainerInfo> Look(absl::string_view id) = 0;
  // All containers, the oldest first. Damaged ones and those of another version are left out.
  virtual absl::StatusOr<std::vector<ContainerInfo>> List() = 0;
  // The id of the container that a user calls so: by its name, its id, or the beginning of its id.
  // kNotFound, or kInvalidArgument if several ids begin so; both fit for the user.
  virtual absl::StatusOr<std::string> Resolve(absl::string_view name) = 0;

  // kAlreadyExists if the name is in use.
  virtual absl::Status Rename(absl::string_view id, const std::string& name) = 0;

  // Durable unless the container is one to be removed that has been started, whose state nothing
  // needs after a crash.
  virtual absl::Status WriteState(const Config& config, const State& state) = 0;

  // Where the container's sockets are.
  virtual std::string RunDirectory(absl::string_view id) const = 0;
  // Where its configuration, state and logs are.
  virtual std::string StateDirectory(absl::string_view id) const = 0;

  // The rest is for the holder of the lock, which others can have after it.
  //
  // After the end of the container's processes: takes away the run directory, and for a container
  // that is to be removed (or, if `discard`, any) all the rest.
  virtual absl::Status Finish(const Config& config, bool discard) = 0;
  // Takes away the run directory alone.
  virtual absl::Status Release(absl::string_view id) = 0;

  // The image of each container there is (Config::image_digest), running or not. Damaged
  // containers are left out.
  virtual absl::StatusOr<std::vector<std::string>> ImageDigests() = 0;

  // Clears away after containers whose processes died without doing so themselves. Cheap when there
  // are none: one flock(2) for each running container.
  virtual absl::Status CollectDead() = 0;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_CONTAINER_STORE_H_
