#include "vmm/container/monitor_question.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/attach_protocol.h"

namespace hull::container {
namespace {

absl::Status Ask(int socket, AttachType question) {
  const std::string message = EncodeAttachFrame({.type = question});
  if (send(socket, message.data(), message.size(), MSG_NOSIGNAL) < 0) {
    return PosixError("ask the container's monitor");
  }
  return absl::OkStatus();
}

// The next frame of type `answer`, which refers to `buffer`, of kMaxAttachFrame bytes.
absl::StatusOr<AttachFrame> Receive(int socket, AttachType answer, absl::Time deadline,
                                    const std::unique_ptr<char[]>& buffer) {
  while (true) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError("the container does not answer");
    }
    pollfd readable = {socket, POLLIN, 0};
    if (poll(&readable, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) <= 0) continue;
    const ssize_t n = recv(socket, buffer.get(), kMaxAttachFrame, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) return absl::FailedPreconditionError("the container is not running");
    HULL_ASSIGN_OR_RETURN(const AttachFrame frame, DecodeAttachFrame(absl::string_view(
                                                       buffer.get(), static_cast<size_t>(n))));
    if (frame.type == answer) return frame;
    if (frame.type == AttachType::kExited || frame.type == AttachType::kFailed) {
      return absl::FailedPreconditionError("the container is not running");
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<ListedProcess>> AskForProcesses(int socket, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  HULL_RETURN_IF_ERROR(Ask(socket, AttachType::kListProcesses));
  const std::unique_ptr<char[]> buffer(new char[kMaxAttachFrame]);
  std::vector<ListedProcess> all;
  for (bool complete = false; !complete && all.size() < kMaxShownProcesses;) {
    HULL_ASSIGN_OR_RETURN(const AttachFrame answer,
                          Receive(socket, AttachType::kProcesses, deadline, buffer));
    HULL_ASSIGN_OR_RETURN(ProcessPage page, ParseProcessPage(answer.data));
    complete = page.complete;
    for (ListedProcess& process : page.processes) all.push_back(std::move(process));
  }
  return all;
}

absl::StatusOr<GuestStatistics> AskForStatistics(int socket, absl::Duration timeout) {
  HULL_RETURN_IF_ERROR(Ask(socket, AttachType::kGetStatistics));
  const std::unique_ptr<char[]> buffer(new char[kMaxAttachFrame]);
  HULL_ASSIGN_OR_RETURN(const AttachFrame answer,
                        Receive(socket, AttachType::kStatistics, absl::Now() + timeout, buffer));
  return ParseStatistics(answer.data);
}

absl::Status AskToPause(int socket, bool pause, absl::Duration timeout) {
  HULL_RETURN_IF_ERROR(Ask(socket, pause ? AttachType::kPause : AttachType::kResume));
  const std::unique_ptr<char[]> buffer(new char[kMaxAttachFrame]);
  HULL_ASSIGN_OR_RETURN(const AttachFrame answer,
                        Receive(socket, AttachType::kPaused, absl::Now() + timeout, buffer));
  if ((answer.number != 0) == pause) return absl::OkStatus();
  return absl::AbortedError(
      absl::StrCat("another command has ", pause ? "resumed" : "paused", " the container"));
}

}  // namespace hull::container
