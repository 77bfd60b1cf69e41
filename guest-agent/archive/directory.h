// Reads directories without allocation.

#ifndef GUEST_AGENT_ARCHIVE_DIRECTORY_H_
#define GUEST_AGENT_ARCHIVE_DIRECTORY_H_

#include <dirent.h>

#include <cerrno>
#include <cstddef>
#include <string_view>

namespace hull::archive {

// Belongs to one thread; the descriptor is the caller's.
class DirectoryReader {
 public:
  explicit DirectoryReader(int fd) : fd_(fd) {}

  // The next name but "." and ".."; valid until the next call. Null: the end, or error() != 0.
  const char* Next() {
    while (true) {
      if (at_ >= size_) {
        const ssize_t n = getdents64(fd_, buffer_, sizeof(buffer_));
        if (n < 0) error_ = errno;
        if (n <= 0) return nullptr;
        at_ = 0;
        size_ = static_cast<size_t>(n);
      }
      // SAFETY: the kernel writes whole entries, aligned.
      const auto* const entry = reinterpret_cast<const dirent64*>(buffer_ + at_);
      at_ += entry->d_reclen;
      const std::string_view name(entry->d_name);
      if (name != "." && name != "..") return entry->d_name;
    }
  }
  int error() const { return error_; }

 private:
  const int fd_;
  int error_ = 0;
  size_t at_ = 0;
  size_t size_ = 0;
  alignas(dirent64) char buffer_[4096];
};

}  // namespace hull::archive

#endif  // GUEST_AGENT_ARCHIVE_DIRECTORY_H_
