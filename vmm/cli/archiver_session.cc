#include "vmm/cli/archiver_session.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "guest-agent/archive/tar_format.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/attach_client.h"
#include "vmm/container/exec_request.h"
#include "vmm/container/outcome.h"

namespace hull::cli {
namespace {

// What is kept of what a guest says about its failures.
constexpr rlim_t kMaxWords = 4096;

// The child's life: from here on it only passes the streams.
[[noreturn]] void PassStreams(UniqueFd socket, const std::string& request, bool to_container,
                              int pipe, int words) {
  const int nothing = open("/dev/null", O_RDWR);
  dup2(to_container ? pipe : nothing, STDIN_FILENO);
  dup2(to_container ? nothing : pipe, STDOUT_FILENO);
  dup2(words, STDERR_FILENO);
  // Its standard error is a file in memory: whatever the guest writes there is cut here.
  const rlimit limit = {kMaxWords, kMaxWords};
  setrlimit(RLIMIT_FSIZE, &limit);
  signal(SIGXFSZ, SIG_IGN);
  const absl::StatusOr<std::optional<container::Outcome>> outcome = container::AttachAndWait(
      std::move(socket),
      {.attach_stdin = to_container, .forward_signals = false, .exec_request = request});
  std::string error;
  int status = container::kHullFailed;
  if (!outcome.ok()) {
    error = std::string(outcome.status().message());
  } else if (!outcome->has_value()) {
    error = "the container's monitor has gone away";
  } else {
    error = (*outcome)->error;
    status = (*outcome)->exit_status;
  }
  // The status says that it failed, if this cannot be told.
  WriteFull(STDERR_FILENO, error).IgnoreError();
  _exit(status);
}

}  // namespace

absl::StatusOr<ArchiverSession> ArchiverSession::Start(container::ContainerStore* store,
                                                       const Named& container,
                                                       const std::vector<std::string>& args,
                                                       Direction direction) {
  if (!Runs(container.info)) {
    return WrongState(container.info, "this can only be done with running containers");
  }
  container::ExecRequest request;
  request.archiver = true;
  request.process.args = {"hull-archiver"};
  request.process.args.insert(request.process.args.end(), args.begin(), args.end());
  const bool to_container = direction == Direction::kToContainer;
  request.process.attach_stdin = to_container;
  request.process.working_directory = "/";
  HULL_ASSIGN_OR_RETURN(UniqueFd socket, Connect(store, container.info.config.id));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return PosixError("create a pipe");
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  ArchiverSession session;
  session.words_.Reset(memfd_create("archiver-words", MFD_CLOEXEC));
  if (!session.words_.valid()) return PosixError("create a file in memory");
  signal(SIGPIPE, SIG_IGN);
  const std::string bytes = container::SerializeExecRequest(request);
  session.client_ = fork();
  if (session.client_ < 0) return PosixError("create a process");
  if (session.client_ == 0) {
    // The other end is to be closed when the parent closes it.
    (to_container ? write_end : read_end).Reset();
    PassStreams(std::move(socket), bytes, to_container,
                to_container ? read_end.get() : write_end.get(), session.words_.get());
  }
  session.pipe_ = std::move(to_container ? write_end : read_end);
  return session;
}

ArchiverSession::ArchiverSession(ArchiverSession&& other) noexcept
    : client_(std::exchange(other.client_, 0)),
      pipe_(std::move(other.pipe_)),
      words_(std::move(other.words_)) {}

ArchiverSession::~ArchiverSession() {
  if (client_ > 0) Finish().IgnoreError();
}

absl::Status ArchiverSession::Finish() {
  pipe_.Reset();
  int status = 0;
  while (waitpid(client_, &status, 0) < 0 && errno == EINTR) {
  }
  client_ = 0;
  if (status == 0) return absl::OkStatus();
  char bytes[kMaxWords];
  const ssize_t n = pread(words_.get(), bytes, sizeof(bytes), 0);
  const std::string words = container::Printable(absl::StripTrailingAsciiWhitespace(
      absl::string_view(bytes, n > 0 ? static_cast<size_t>(n) : 0)));
  if (absl::StrContains(words, "could not be found on container"))
    return absl::NotFoundError(words);
  if (!words.empty()) return absl::UnknownError(words);
  return absl::UnknownError(
      absl::StrCat("the guest's archiver ended with status ",
                   WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)));
}

absl::Status RelayArchive(int from, int to) {
  archive::DescriptorSource source(from);
  archive::DescriptorSink sink(to);
  uint8_t piece[32 << 10];
  long n;
  while ((n = source.Read(piece, sizeof(piece))) > 0) {
    if (!sink.Write(piece, static_cast<size_t>(n))) return PosixError("write the archive");
  }
  return n == 0 ? absl::OkStatus() : PosixError(static_cast<int>(-n), "read the archive");
}

absl::StatusOr<std::string> AskArchiver(container::ContainerStore* store, const Named& container,
                                        const std::vector<std::string>& args, size_t limit) {
  HULL_ASSIGN_OR_RETURN(
      ArchiverSession session,
      ArchiverSession::Start(store, container, args, ArchiverSession::Direction::kFromContainer));
  archive::DescriptorSource source(session.fd());
  std::string all;
  uint8_t piece[4096];
  long n;
  while ((n = source.Read(piece, sizeof(piece))) > 0) {
    all.append(reinterpret_cast<const char*>(piece), static_cast<size_t>(n));
    if (all.size() > limit) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the guest answers with more than ", limit, " bytes"));
    }
  }
  HULL_RETURN_IF_ERROR(session.Finish());
  return all;
}

}  // namespace hull::cli
