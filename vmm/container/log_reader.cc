#include "vmm/container/log_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull::container {
namespace {

bool SameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}  // namespace

absl::Status LogReader::Read(const Sink& sink) {
  if (!file_.valid()) HULL_RETURN_IF_ERROR(OpenOldest());
  while (file_.valid()) {
    HULL_RETURN_IF_ERROR(Drain(sink));
    HULL_ASSIGN_OR_RETURN(const bool moved, MoveOn());
    if (!moved) break;
  }
  return absl::OkStatus();
}

absl::Status LogReader::Drain(const Sink& sink) {
  char buffer[65536];
  while (true) {
    const ssize_t n = read(file_.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return PosixError(absl::StrCat("read the log in \"", directory_, "\""));
    if (n == 0) return absl::OkStatus();
    absl::string_view data(buffer, static_cast<size_t>(n));
    while (!data.empty()) {
      const size_t newline = data.find('\n');
      const bool complete = newline != absl::string_view::npos;
      rest_.append(data.data(), complete ? newline : data.size());
      data.remove_prefix(complete ? newline + 1 : data.size());
      if (complete) {
        const absl::StatusOr<LogEntry> entry = ParseLogEntry(rest_);
        if (entry.ok()) sink(*entry);
      }
      // Nothing that is longer is an entry.
      if (complete || rest_.size() > kMaxLogEntryBytes) rest_.clear();
    }
  }
}

absl::Status LogReader::OpenOldest() {
  rest_.clear();
  for (int age = kLogFiles - 1; age >= 0; --age) {
    absl::StatusOr<UniqueFd> file = UniqueFd::Open(LogPath(directory_, age), O_RDONLY | O_NOFOLLOW);
    if (file.ok()) {
      file_ = *std::move(file);
      return absl::OkStatus();
    }
    if (!absl::IsNotFound(file.status())) return file.status();
  }
  return absl::OkStatus();
}

// After the end of the file: goes to the one that follows it, if it has been rotated.
absl::StatusOr<bool> LogReader::MoveOn() {
  struct stat ours;
  if (fstat(file_.get(), &ours) != 0) return PosixError("inspect a log");
  for (int age = 0; age < kLogFiles; ++age) {
    struct stat named;
    if (stat(LogPath(directory_, age).c_str(), &named) != 0 || !SameFile(ours, named)) continue;
    if (age == 0) return false;
    absl::StatusOr<UniqueFd> next =
        UniqueFd::Open(LogPath(directory_, age - 1), O_RDONLY | O_NOFOLLOW);
    if (absl::IsNotFound(next.status())) return false;  // between a rotation and its first entry
    if (!next.ok()) return next.status();
    // Unless there was another rotation meanwhile, which gives the names to other files.
    if (stat(LogPath(directory_, age).c_str(), &named) != 0 || !SameFile(ours, named)) {
      age = -1;
      continue;
    }
    // Something may have been written to ours between its end and its rotation.
    struct stat now;
    if (fstat(file_.get(), &now) == 0 && now.st_size > lseek(file_.get(), 0, SEEK_CUR)) return true;
    rest_.clear();
    file_ = *std::move(next);
    return true;
  }
  // It was rotated away, or the container is gone.
  if (access(directory_.c_str(), F_OK) != 0) return false;
  file_.Reset();
  HULL_RETURN_IF_ERROR(OpenOldest());
  return file_.valid();
}

}  // namespace hull::container
