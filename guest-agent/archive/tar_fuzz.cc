// Any bytes as an archive: they are read to their end, and what was read can be written again and
// reads the same.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "guest-agent/archive/tar_format.h"

namespace {

using namespace hull::archive;

class MemorySource final : public Source {
 public:
  MemorySource(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  long Read(uint8_t* data, size_t size) override {
    const size_t n = size < size_ ? size : size_;
    if (n != 0) std::memcpy(data, data_, n);
    data_ += n;
    size_ -= n;
    return static_cast<long>(n);
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

class MemorySink final : public Sink {
 public:
  bool Write(const uint8_t* data, size_t size) override {
    bytes.insert(bytes.end(), data, data + size);
    return true;
  }
  std::vector<uint8_t> bytes;
};

void Check(bool holds) {
  if (!holds) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  MemorySource source(data, size);
  const auto reader = std::make_unique<TarReader>(&source);
  const auto entry = std::make_unique<Entry>();
  const auto again = std::make_unique<Entry>();
  while (reader->Next(entry.get()) == TarReader::Result::kEntry) {
    Check(!entry->name.view().empty());
    uint8_t piece[1000];
    uint64_t total = 0;
    long n;
    while ((n = reader->ReadContent(piece, sizeof(piece))) > 0) total += static_cast<uint64_t>(n);
    Check(total <= entry->size && (n < 0 || total == entry->size));

    MemorySink sink;
    const auto writer = std::make_unique<TarWriter>(&sink);
    // A file without its content, and attributes of any size and name, are not to be written.
    if (entry->attributes_size != 0) continue;
    entry->size = 0;
    Check(writer->WriteEntry(*entry) && writer->End());
    MemorySource written(sink.bytes.data(), sink.bytes.size());
    const auto second = std::make_unique<TarReader>(&written);
    Check(second->Next(again.get()) == TarReader::Result::kEntry);
    Check(again->name.view() == entry->name.view() && again->uid == entry->uid);
    Check(second->Next(again.get()) == TarReader::Result::kEnd);
  }
  return 0;
}
