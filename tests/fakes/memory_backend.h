// A disk in memory that can fail and that keeps a record, for tests of the block device.

#ifndef TESTS_FAKES_MEMORY_BACKEND_H_
#define TESTS_FAKES_MEMORY_BACKEND_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "vmm/devices/block/backend.h"
#include "vmm/memory/guest_memory.h"

namespace hull::fakes {

// Not thread-safe. An access that is not on the disk fails the process: the device must have
// refused it (std::vector::at).
class MemoryBackend : public block::Backend {
 public:
  explicit MemoryBackend(uint64_t size, bool read_only = false)
      : content(size), read_only_(read_only) {}

  absl::string_view name() const override { return "memory"; }
  uint64_t size() const override { return content.size(); }
  uint32_t block_size() const override { return 512; }
  bool read_only() const override { return read_only_; }

  absl::Status Read(uint64_t offset, std::span<iovec> to) override {
    return Do("read", offset, to, [&](std::span<uint8_t> part) { CopyToSlices(part, to, 0); });
  }
  absl::Status Write(uint64_t offset, std::span<iovec> from) override {
    return Do("write", offset, from,
              [&](std::span<uint8_t> part) { CopyFromSlices(from, 0, part); });
  }
  absl::Status Flush() override {
    calls.push_back("flush");
    return error;
  }
  absl::Status Discard(uint64_t offset, uint64_t size) override {
    return Erase("discard", offset, size);
  }
  absl::Status WriteZeroes(uint64_t offset, uint64_t size, bool may_unmap) override {
    return Erase(may_unmap ? "unmap" : "zero", offset, size);
  }

  std::vector<uint8_t> content;
  // "read 512+1024": the offset and the size.
  std::vector<std::string> calls;
  absl::Status error;  // What every call returns, having done nothing if it is not OK.
  // Called in every transfer, before it is done.
  std::function<void()> during = [] {};

 private:
  template <typename Copy>
  absl::Status Do(absl::string_view what, uint64_t offset, std::span<const iovec> slices,
                  Copy copy) {
    uint64_t size = 0;
    for (const iovec& slice : slices) size += slice.iov_len;
    calls.push_back(absl::StrCat(what, " ", offset, "+", size));
    during();
    if (error.ok() && size > 0) copy(Part(offset, size));
    return error;
  }
  absl::Status Erase(absl::string_view what, uint64_t offset, uint64_t size) {
    calls.push_back(absl::StrCat(what, " ", offset, "+", size));
    if (error.ok()) std::ranges::fill(Part(offset, size), 0);
    return error;
  }
  std::span<uint8_t> Part(uint64_t offset, uint64_t size) {
    return std::span(&content.at(offset), &content.at(offset + size - 1) + 1);
  }

  const bool read_only_;
};

}  // namespace hull::fakes

#endif  // TESTS_FAKES_MEMORY_BACKEND_H_
