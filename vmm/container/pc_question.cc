#include "vmm/container/pc_question.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/attach_protocol.h"

namespace hull::container {
namespace {

// How often a picture is begun anew because somebody else had one drawn meanwhile.
constexpr int kPictureTries = 10;
constexpr absl::Duration kKeyboardFull = absl::Milliseconds(20);

absl::Status Ended() { return absl::FailedPreconditionError("the container is not running"); }

// The next part of an answer; sets `*last`.
absl::StatusOr<std::string> ReceivePart(int socket, absl::Time deadline, bool* last) {
  const std::unique_ptr<char[]> buffer(new char[kMaxAttachFrame]);
  while (true) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError("the machine does not answer");
    }
    pollfd readable = {socket, POLLIN, 0};
    if (poll(&readable, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) <= 0) continue;
    const ssize_t n = recv(socket, buffer.get(), kMaxAttachFrame, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) return Ended();
    HULL_ASSIGN_OR_RETURN(const AttachFrame frame, DecodeAttachFrame(absl::string_view(
                                                       buffer.get(), static_cast<size_t>(n))));
    if (frame.type == AttachType::kControlReply) {
      *last = frame.number != 0;
      return std::string(frame.data);
    }
    if (frame.type == AttachType::kExited || frame.type == AttachType::kFailed) return Ended();
    if (frame.type == AttachType::kNotice) return absl::UnavailableError(frame.data);
  }
}

absl::StatusOr<std::string> Ask(int socket, absl::string_view request, absl::Duration timeout) {
  const std::string message =
      EncodeAttachFrame({.type = AttachType::kControlRequest, .data = request});
  if (send(socket, message.data(), message.size(), MSG_NOSIGNAL) < 0) {
    if (errno == EPIPE || errno == ECONNRESET) return Ended();
    return PosixError("ask the container's monitor");
  }
  const absl::Time deadline = absl::Now() + timeout;
  std::string answer;
  for (bool last = false; !last;) {
    HULL_ASSIGN_OR_RETURN(const std::string part, ReceivePart(socket, deadline, &last));
    answer += part;
    if (answer.size() > kMaxControlReply) {
      return absl::InvalidArgumentError("the container's monitor sent an answer without end");
    }
  }
  return answer;
}

absl::StatusOr<Picture> TryPicture(int socket, absl::Duration timeout) {
  HULL_ASSIGN_OR_RETURN(const std::string drawn, Ask(socket, "P", timeout));
  HULL_ASSIGN_OR_RETURN(const PictureSize size, ParsePictureReply(drawn));
  const size_t bytes = size_t{3} * size.width * size.height;
  Picture picture = {.width = size.width, .height = size.height};
  picture.rgb.reserve(bytes);
  while (picture.rgb.size() < bytes) {
    const auto offset = static_cast<uint32_t>(picture.rgb.size());
    std::string request = "R";
    for (int shift = 0; shift < 32; shift += 8) request += static_cast<char>(offset >> shift);
    HULL_ASSIGN_OR_RETURN(const std::string reply, Ask(socket, request, timeout));
    if (reply == "E") return absl::AbortedError("another picture was drawn meanwhile");
    HULL_ASSIGN_OR_RETURN(const absl::string_view pixels, ParsePixelsReply(reply, bytes - offset));
    absl::StrAppend(&picture.rgb, pixels);
  }
  return picture;
}

}  // namespace

absl::StatusOr<TextScreen> AskForScreen(int socket, absl::Duration timeout) {
  HULL_ASSIGN_OR_RETURN(const std::string reply, Ask(socket, "T", timeout));
  return ParseTextReply(reply);
}

absl::StatusOr<Picture> AskForPicture(int socket, absl::Duration timeout) {
  absl::StatusOr<Picture> picture = absl::AbortedError("");
  for (int i = 0; i < kPictureTries && absl::IsAborted(picture.status()); ++i) {
    picture = TryPicture(socket, timeout);
  }
  return picture;
}

absl::Status TypeKeys(int socket, const std::vector<KeyStroke>& strokes, absl::Duration delay,
                      absl::Duration timeout) {
  for (size_t i = 0; i < strokes.size(); ++i) {
    absl::string_view rest(reinterpret_cast<const char*>(strokes[i].data()), strokes[i].size());
    absl::Time deadline = absl::Now() + timeout;
    while (!rest.empty()) {
      HULL_ASSIGN_OR_RETURN(const std::string reply, Ask(socket, absl::StrCat("K", rest), timeout));
      HULL_ASSIGN_OR_RETURN(const size_t taken, ParseKeysReply(reply, rest.size()));
      rest.remove_prefix(taken);
      if (taken > 0) {
        deadline = absl::Now() + timeout;
      } else if (absl::Now() > deadline) {
        return absl::DeadlineExceededError(absl::StrCat(
            "the machine does not read its keyboard: of ", strokes.size(), " keys it took ", i));
      } else {
        absl::SleepFor(kKeyboardFull);
      }
    }
    if (i + 1 < strokes.size()) absl::SleepFor(delay);
  }
  return absl::OkStatus();
}

}  // namespace hull::container
