// Writes what a container prints to its log files, bounded, and without ever waiting for room.

#ifndef VMM_CONTAINER_LOG_WRITER_H_
#define VMM_CONTAINER_LOG_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/log_format.h"

namespace hull::container {

// Not thread-safe. Entries that cannot be written (the disk is full) are counted, and the count is
// written as soon as something can be.
class LogWriter {
 public:
  // `directory` is the container's; each of the kLogFiles files has at most `max_file_bytes`, which
  // is at least kMinLogMaxBytes. No file is touched before the first Write().
  LogWriter(std::string directory, uint64_t max_file_bytes);

  // What the process printed at that time.
  void Write(LogStream stream, absl::string_view data, int64_t unix_ns);
  // Tries once more to tell what could not be written.
  void Close();

  // Entries that are lost so far and have not been told in the log.
  uint64_t dropped() const { return dropped_; }

 private:
  void Add(const LogEntry& entry);
  void Flush();
  bool PrepareFile(size_t room);
  bool Open();
  bool Rotate();

  const std::string directory_;
  const uint64_t max_file_bytes_;
  UniqueFd file_;
  uint64_t size_ = 0;  // of file_
  // Whole entries for one write(2), and how many.
  std::string batch_;
  uint64_t batch_entries_ = 0;
  uint64_t dropped_ = 0;
  int64_t last_unix_ns_ = 0;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_LOG_WRITER_H_
