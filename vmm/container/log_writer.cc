#include "vmm/container/log_writer.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace hull::container {
namespace {

constexpr mode_t kFileMode = 0600;
// The longest entry that tells of dropped ones.
constexpr size_t kNoteBytes = 64;

// Whether all of `data` was written.
bool WriteAll(int fd, absl::string_view data) {
  while (!data.empty()) {
    const ssize_t n = write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

LogWriter::LogWriter(std::string directory, uint64_t max_file_bytes)
    : directory_(std::move(directory)), max_file_bytes_(max_file_bytes) {}

void LogWriter::Write(LogStream stream, absl::string_view data, int64_t unix_ns) {
  last_unix_ns_ = unix_ns;
  while (!data.empty()) {
    const size_t newline = data.find('\n');
    const size_t length = std::min({newline, data.size(), kMaxLogContentBytes});
    const bool ends_line = newline == length;
    Add({.unix_ns = unix_ns,
         .stream = stream,
         .ends_line = ends_line,
         .content = data.substr(0, length)});
    data.remove_prefix(length + (ends_line ? 1 : 0));
  }
  Flush();
}

void LogWriter::Close() {
  if (dropped_ > 0) Flush();
  file_.Reset();
}

void LogWriter::Add(const LogEntry& entry) {
  // An entry lies in one file: the batch is one file's.
  if (size_ + batch_.size() + entry.content.size() + 2 * kNoteBytes > max_file_bytes_) Flush();
  AppendLogEntry(entry, &batch_);
  ++batch_entries_;
}

void LogWriter::Flush() {
  std::string out;
  if (dropped_ > 0) {
    AppendLogEntry({.unix_ns = last_unix_ns_,
                    .stream = LogStream::kDropped,
                    .ends_line = true,
                    .content = absl::StrCat(dropped_)},
                   &out);
  }
  out += batch_;
  if (out.empty()) return;
  if (PrepareFile(out.size()) && WriteAll(file_.get(), out)) {
    size_ += out.size();
    dropped_ = 0;
  } else {
    dropped_ += batch_entries_;
    // No half entry stays, so that the next one begins at the beginning of a line.
    if (file_.valid() && ftruncate(file_.get(), static_cast<off_t>(size_)) != 0) file_.Reset();
  }
  batch_.clear();
  batch_entries_ = 0;
}

// Whether there is a file that may take so many more bytes.
bool LogWriter::PrepareFile(size_t room) {
  if (!file_.valid() && !Open()) return false;
  if (size_ == 0 || size_ + room <= max_file_bytes_) return true;
  return Rotate() && Open();
}

bool LogWriter::Open() {
  absl::StatusOr<UniqueFd> file =
      UniqueFd::Open(LogPath(directory_, 0), O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, kFileMode);
  struct stat info;
  if (!file.ok() || fstat(file->get(), &info) != 0) return false;
  size_ = static_cast<uint64_t>(info.st_size);
  // What a crash left of an entry is a line of its own, which readers pass over.
  char last = '\n';
  if (size_ > 0 && pread(file->get(), &last, 1, info.st_size - 1) != 1) return false;
  if (last != '\n') {
    if (!WriteAll(file->get(), "\n")) return false;
    ++size_;
  }
  file_ = *std::move(file);
  return true;
}

bool LogWriter::Rotate() {
  file_.Reset();
  for (int age = kLogFiles - 1; age > 0; --age) {
    const std::string from = LogPath(directory_, age - 1);
    if (rename(from.c_str(), LogPath(directory_, age).c_str()) != 0 && errno != ENOENT) {
      return false;
    }
  }
  return true;
}

}  // namespace hull::container
