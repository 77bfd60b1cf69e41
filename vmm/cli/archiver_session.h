// The agent's archiver in a container that runs (guest-agent/archiver.h), at the other end of a
// pipe.

#ifndef VMM_CLI_ARCHIVER_SESSION_H_
#define VMM_CLI_ARCHIVER_SESSION_H_

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/containers.h"
#include "vmm/container/container_store.h"

namespace hull::cli {

// Not thread-safe. What comes out of the pipe is the guest's, who is hostile.
class ArchiverSession {
 public:
  enum class Direction { kFromContainer, kToContainer };

  // `args` follow the archiver's own name. SIGPIPE is ignored from then on. kFailedPrecondition if
  // the container does not run.
  static absl::StatusOr<ArchiverSession> Start(container::ContainerStore* store,
                                               const Named& container,
                                               const std::vector<std::string>& args,
                                               Direction direction);
  ArchiverSession(ArchiverSession&& other) noexcept;
  ArchiverSession& operator=(ArchiverSession&&) = delete;
  // Ends what Finish() has not.
  ~ArchiverSession();

  // Blocks; to read from or to write to.
  int fd() const { return pipe_.get(); }
  // Closes the pipe and waits for the archiver's end. An error is in its words, made fit for a
  // terminal: kNotFound if it has not found what it was asked for.
  absl::Status Finish();

 private:
  ArchiverSession() = default;

  pid_t client_ = 0;  // the process that passes the streams
  UniqueFd pipe_;
  UniqueFd words_;
};

// From one descriptor to another until the end, in pieces.
absl::Status RelayArchive(int from, int to);

// All that an archiver writes. kResourceExhausted beyond `limit` bytes.
absl::StatusOr<std::string> AskArchiver(container::ContainerStore* store, const Named& container,
                                        const std::vector<std::string>& args, size_t limit);

}  // namespace hull::cli

#endif  // VMM_CLI_ARCHIVER_SESSION_H_
