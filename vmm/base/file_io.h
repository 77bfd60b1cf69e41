// Whole reads and writes on descriptors, and files that are replaced atomically.

#ifndef VMM_BASE_FILE_IO_H_
#define VMM_BASE_FILE_IO_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hull {

// Reads until `buffer` is full or the file ends; returns the number of bytes read. Retries on
// EINTR. For blocking descriptors.
absl::StatusOr<size_t> ReadFull(int fd, std::span<uint8_t> buffer);

// The same at `offset`, without moving the file position.
absl::StatusOr<size_t> PreadFull(int fd, std::span<uint8_t> buffer, off_t offset);

// Writes all of `data`, or fails. For blocking descriptors.
absl::Status WriteFull(int fd, absl::string_view data);

// The content of `path`, which must not exceed `limit` bytes (kOutOfRange if it does).
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t limit);

// Replaces `path` by `data`: written to a temporary name in the same directory, fsynced, renamed,
// and the directory fsynced. After a crash at any moment, `path` is either the old or the new file.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view data, mode_t mode);

}  // namespace hull

#endif  // VMM_BASE_FILE_IO_H_
