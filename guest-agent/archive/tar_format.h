// Tar archives, entry by entry: what hull-agent and hull send each other for `hull cp`, `export`
// and the like. Written: ustar with pax headers (POSIX.1-2017, pax, "ustar Interchange Format" and
// "pax Extended Header") where a value needs them. Read: that, and GNU tar's long names and
// base-256 numbers. No allocation and no exceptions, for the agent's sake.

#ifndef GUEST_AGENT_ARCHIVE_TAR_FORMAT_H_
#define GUEST_AGENT_ARCHIVE_TAR_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "guest-agent/text.h"

namespace hull::archive {

inline constexpr size_t kBlock = 512;
inline constexpr size_t kMaxName = 4095;  // PATH_MAX without its NUL
// All extended headers of one entry.
inline constexpr size_t kMaxExtended = size_t{256} << 10;

using Name = agent::FixedText<kMaxName>;
using Why = agent::FixedText<512>;

enum class EntryType { kFile, kHardLink, kSymlink, kCharacter, kBlock, kDirectory, kFifo };

// Large: not for the stack.
struct Entry {
  EntryType type;
  Name name;      // as it stands in the archive; never empty, no NUL in it
  Name link;      // of the two kinds of links
  uint32_t mode;  // permission bits, 07777
  uint64_t uid;
  uint64_t gid;
  uint64_t size;  // of a file's content; 0 for all others
  int64_t mtime;  // seconds since 1970
  uint32_t device_major;
  uint32_t device_minor;
  // Extended attributes, each as name, NUL, length (4 bytes, of this machine), value.
  uint8_t attributes[kMaxExtended];
  size_t attributes_size;

  // Everything empty or zero.
  void Clear();
  // False: there is no room.
  bool AddAttribute(std::string_view attribute, std::span<const uint8_t> value);
};

// Calls `use(name, value)` for each; stops when that returns false.
template <typename Use>
void ForEachAttribute(const Entry& entry, Use use) {
  size_t at = 0;
  while (at < entry.attributes_size) {
    const std::string_view name(reinterpret_cast<const char*>(entry.attributes + at));
    at += name.size() + 1;
    uint32_t size;
    __builtin_memcpy(&size, entry.attributes + at, sizeof(size));
    at += sizeof(size);
    if (!use(name, std::span<const uint8_t>(entry.attributes + at, size))) return;
    at += size;
  }
}

// Where bytes come from.
class Source {
 public:
  // As many as there are, at most `size`; 0: the end; negative: an error, whose number is -errno.
  virtual long Read(uint8_t* data, size_t size) = 0;

 protected:
  ~Source() = default;
};

// Where they go.
class Sink {
 public:
  // All of them, or false with errno set.
  virtual bool Write(const uint8_t* data, size_t size) = 0;

 protected:
  ~Sink() = default;
};

class DescriptorSource final : public Source {
 public:
  explicit DescriptorSource(int fd) : fd_(fd) {}
  long Read(uint8_t* data, size_t size) override;

 private:
  const int fd_;
};

class DescriptorSink final : public Sink {
 public:
  explicit DescriptorSink(int fd) : fd_(fd) {}
  bool Write(const uint8_t* data, size_t size) override;

 private:
  const int fd_;
};

// Reads what may come from anybody. Large: not for the stack.
class TarReader {
 public:
  explicit TarReader(Source* source) : source_(source) {}

  enum class Result { kEntry, kEnd, kError };
  // The next entry; what is left of the last one's content is passed over. After kError, why() says
  // what is wrong, and the reader is of no more use.
  Result Next(Entry* entry);
  // A piece of the entry's content: at most `size` bytes, 0 at its end; negative: see why().
  long ReadContent(uint8_t* data, size_t size);
  const Why& why() const { return why_; }

 private:
  bool ReadFull(uint8_t* data, size_t size, bool* end);
  bool SkipContent();
  bool ReadExtended(uint64_t size);
  bool ParseHeader(const uint8_t* block, Entry* entry, char* type);
  bool ApplyPax(Entry* entry);
  bool ReadLongName(uint64_t size, Name* name);
  bool Refuse(std::string_view what);

  Source* const source_;
  Why why_;
  uint64_t content_left_ = 0;
  uint64_t padding_left_ = 0;
  uint8_t extended_[kMaxExtended];
  size_t extended_size_ = 0;
  Name long_name_;
  Name long_link_;
};

// Writes entries and their content. Large: not for the stack.
class TarWriter {
 public:
  explicit TarWriter(Sink* sink) : sink_(sink) {}

  // False with errno set, here and below. EFBIG: an attribute is too large.
  bool WriteEntry(const Entry& entry);
  // Exactly entry.size bytes in all, then EndContent().
  bool WriteContent(const uint8_t* data, size_t size) { return sink_->Write(data, size); }
  bool EndContent(uint64_t size);
  // The two blocks of zeros at the end.
  bool End();

 private:
  bool WriteHeader(std::string_view name, std::string_view link, char type, const Entry& entry,
                   uint64_t size);
  bool AddRecord(std::string_view key, std::span<const uint8_t> value);
  bool AddText(std::string_view key, std::string_view value);

  Sink* const sink_;
  uint8_t records_[kMaxExtended + 3 * kMaxName];
  size_t records_size_ = 0;
};

}  // namespace hull::archive

#endif  // GUEST_AGENT_ARCHIVE_TAR_FORMAT_H_
