#include "images/oci/file_broker.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::images {
namespace {

// An answer: a status code, and with one that is not OK a message.
struct Answer {
  int32_t code = 0;
  std::array<char, 1024> message;
};

// One packet, with room for one descriptor. SAFETY: `control` is as large and aligned as the
// kernel wants it, and outlives the header.
class Packet {
 public:
  explicit Packet(std::span<char> bytes) : slice_{bytes.data(), bytes.size()} {
    header_.msg_iov = &slice_;
    header_.msg_iovlen = 1;
  }

  // Bytes received; 0 when the other end is closed.
  absl::StatusOr<size_t> Receive(int socket) {
    header_.msg_control = control_;
    header_.msg_controllen = sizeof(control_);
    ssize_t size;
    do {
      size = recvmsg(socket, &header_, MSG_CMSG_CLOEXEC);
    } while (size < 0 && errno == EINTR);
    if (size < 0) return PosixError("read from the other process");
    const cmsghdr* const extra = CMSG_FIRSTHDR(&header_);
    if (extra != nullptr && extra->cmsg_type == SCM_RIGHTS &&
        extra->cmsg_len == CMSG_LEN(sizeof(int))) {
      int fd;
      memcpy(&fd, CMSG_DATA(extra), sizeof(fd));
      descriptor.Reset(fd);
    }
    if ((header_.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
      return absl::InvalidArgumentError("the other process sent too much");
    }
    return static_cast<size_t>(size);
  }

  absl::Status Send(int socket) {
    if (descriptor.valid()) {
      header_.msg_control = control_;
      header_.msg_controllen = sizeof(control_);
      cmsghdr* const extra = CMSG_FIRSTHDR(&header_);
      extra->cmsg_level = SOL_SOCKET;
      extra->cmsg_type = SCM_RIGHTS;
      extra->cmsg_len = CMSG_LEN(sizeof(int));
      const int fd = descriptor.get();
      memcpy(CMSG_DATA(extra), &fd, sizeof(fd));
    }
    ssize_t sent;
    do {
      sent = sendmsg(socket, &header_, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? PosixError("write to the other process") : absl::OkStatus();
  }

  UniqueFd descriptor;

 private:
  iovec slice_;
  msghdr header_ = {};
  alignas(cmsghdr) char control_[CMSG_SPACE(sizeof(int))] = {};
};

}  // namespace

absl::StatusOr<UniqueFd> OpenBeneath(int directory, const std::string& path) {
  const std::string name = absl::CHexEscape(path);
  open_how how = {};
  // O_NONBLOCK: a FIFO in place of a blob must not hang the load.
  how.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  UniqueFd fd(static_cast<int>(syscall(SYS_openat2, directory, path.c_str(), &how, sizeof(how))));
  if (!fd.valid()) {
    const int error = errno;
    if (error == EXDEV) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", name, "\" is a link that leads out of the image layout"));
    }
    return PosixError(error, absl::StrCat("open \"", name, "\""));
  }
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return PosixError(absl::StrCat("stat \"", name, "\""));
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", name, "\" is not a regular file"));
  }
  return fd;
}

absl::StatusOr<UniqueFd> RequestFile(int socket, const std::string& path) {
  std::string request = path;
  Packet question(request);
  HULL_RETURN_IF_ERROR(question.Send(socket));
  Answer answer;
  // SAFETY: bytes are bytes.
  Packet reply(std::span(reinterpret_cast<char*>(&answer), sizeof(answer)));
  HULL_ASSIGN_OR_RETURN(const size_t size, reply.Receive(socket));
  if (size < sizeof(answer.code)) return absl::AbortedError("nobody opens files any more");
  if (answer.code != 0) {
    return absl::Status(static_cast<absl::StatusCode>(answer.code),
                        absl::string_view(answer.message.data(), size - sizeof(answer.code)));
  }
  if (!reply.descriptor.valid()) return absl::InternalError("an answer has no file");
  return std::move(reply.descriptor);
}

absl::Status ServeFiles(int socket, int directory) {
  while (true) {
    std::array<char, kMaxBrokerPath> path;
    Packet request(path);
    HULL_ASSIGN_OR_RETURN(const size_t size, request.Receive(socket));
    if (size == 0) return absl::OkStatus();
    if (request.descriptor.valid()) {
      return absl::InvalidArgumentError("a request for a file came with a descriptor");
    }
    if (memchr(path.data(), '\0', size) != nullptr) {
      return absl::InvalidArgumentError("a request for a file is no path");
    }
    absl::StatusOr<UniqueFd> file = OpenBeneath(directory, std::string(path.data(), size));
    Answer answer;
    answer.code = static_cast<int32_t>(file.status().code());
    const absl::string_view message = file.status().message().substr(0, answer.message.size());
    message.copy(answer.message.data(), message.size());
    // SAFETY: bytes are bytes.
    Packet reply(std::span(reinterpret_cast<char*>(&answer), sizeof(answer.code) + message.size()));
    if (file.ok()) reply.descriptor = *std::move(file);
    // A reader that is gone is seen at the next request.
    reply.Send(socket).IgnoreError();
  }
}

}  // namespace hull::images
