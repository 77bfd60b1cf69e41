#include "vmm/memory/guest_memory.h"

#include <glog/logging.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "vmm/base/checked.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull {
namespace {

uint64_t PageSize() {
  static const uint64_t size = static_cast<uint64_t>(getpagesize());
  return size;
}

// Guest RAM starts at multiples of this, so the host's address of a huge page is one of a huge
// page.
constexpr uint64_t kHugePageSize = uint64_t{2} << 20;

bool PageAligned(uint64_t value) { return value % PageSize() == 0; }

// The barrier makes the copy happen once and here: what the guest writes to the source afterwards
// is never seen through the destination.
void CopyVolatile(uint8_t* to, const uint8_t* from, size_t size) {
  std::memcpy(to, from, size);
  asm volatile("" : : : "memory");
}

// Calls copy(host, position, size) for the pieces of [offset, offset + total) of the slices.
template <typename Copy>
void VisitSlices(std::span<const iovec> slices, uint64_t offset, uint64_t total, Copy copy) {
  uint64_t done = 0;
  for (const iovec& slice : slices) {
    if (done == total) break;
    if (offset >= slice.iov_len) {
      offset -= slice.iov_len;
      continue;
    }
    const uint64_t piece = std::min<uint64_t>(slice.iov_len - offset, total - done);
    copy(static_cast<uint8_t*>(slice.iov_base) + offset, done, piece);
    done += piece;
    offset = 0;
  }
  CHECK_EQ(done, total) << "a copy ran over the end of its slices";
}

}  // namespace

absl::StatusOr<GuestMemory> GuestMemory::Create(std::span<const Range> ranges) {
  GuestMemory memory;
  uint64_t previous_end = 0;
  for (const Range& range : ranges) {
    const std::optional<uint64_t> end = CheckedAdd(range.start.value, range.size);
    if (range.size == 0 || !end.has_value() || !PageAligned(range.start.value) ||
        !PageAligned(range.size) || range.start.value < previous_end) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "guest memory of %u bytes at 0x%x is empty, misaligned, or overlaps other "
          "memory",
          range.size, range.start.value));
    }
    previous_end = *end;
    absl::StatusOr<ScopedMmap> mapping =
        ScopedMmap::MapAligned(range.size, kHugePageSize, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
    if (!mapping.ok()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the host cannot give the guest ", range.size >> 20,
                       " MiB of memory: ", mapping.status().message()));
    }
    // A core dump of the VMM must not hold the tenant's data.
    if (madvise(mapping->data(), mapping->size(), MADV_DONTDUMP) != 0) {
      return PosixError("keep guest memory out of core dumps");
    }
    memory.regions_.push_back(Region{range.start, range.size, mapping->data()});
    memory.mappings_.push_back(*std::move(mapping));
  }
  return memory;
}

absl::Status GuestMemory::MapFile(GuestAddress start, uint64_t size, int fd, off_t offset) {
  if (size == 0 || offset < 0 || !PageAligned(start.value) || !PageAligned(size) ||
      !PageAligned(static_cast<uint64_t>(offset))) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "map %u bytes at file offset %d over guest memory at 0x%x: not page-aligned", size, offset,
        start.value));
  }
  HULL_ASSIGN_OR_RETURN(uint8_t* const host, Translate(start, size));
  struct stat info;
  if (fstat(fd, &info) != 0) return PosixError("fstat the file to map");
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError("only a regular file can be mapped into guest memory");
  }
  const std::optional<uint64_t> end = CheckedAdd(static_cast<uint64_t>(offset), size);
  const std::optional<uint64_t> file_end =
      CheckedAlignUp(static_cast<uint64_t>(info.st_size), PageSize());
  if (!end.has_value() || !file_end.has_value() || *end > *file_end) {
    return absl::OutOfRangeError(absl::StrFormat(
        "the file of %d bytes ends before the %u bytes at offset %d", info.st_size, size, offset));
  }
  void* const mapped =
      mmap(host, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, offset);
  if (mapped == MAP_FAILED) return PosixError("map a file into guest memory");
  if (madvise(host, size, MADV_DONTDUMP) != 0) {
    return PosixError("keep guest memory out of core dumps");
  }
  return absl::OkStatus();
}

absl::Status GuestMemory::Advise(GuestAddress start, uint64_t size, int advice) {
  HULL_ASSIGN_OR_RETURN(uint8_t* const host, Translate(start, size));
  // EINVAL: the host has no huge pages. The guest runs as well, a little slower.
  if (madvise(host, size, advice) != 0 && errno != EINVAL) return PosixError("madvise");
  return absl::OkStatus();
}

absl::Status GuestMemory::PreferHugePages(GuestAddress start, uint64_t size) {
  return Advise(start, size, MADV_HUGEPAGE);
}

absl::Status GuestMemory::GatherHugePage(GuestAddress start) {
  constexpr int kMadvCollapse = 25;  // MADV_COLLAPSE, of Linux 6.1; glibc 2.36 does not have it
  HULL_ASSIGN_OR_RETURN(uint8_t* const host, Translate(start, kHugePageSize));
  // A file system without huge pages, no memory for one, a page that is in use: it is the same
  // file.
  (void)madvise(host, kHugePageSize, kMadvCollapse);
  return absl::OkStatus();
}

absl::Status GuestMemory::AvoidHugePages(GuestAddress start, uint64_t size) {
  return Advise(start, size, MADV_NOHUGEPAGE);
}

uint8_t* GuestMemory::Find(GuestAddress address, uint64_t size) const {
  for (const Region& region : regions_) {
    if (address.value < region.start.value) return nullptr;
    const uint64_t offset = address.value - region.start.value;
    // The end of a region may be the start of the next, to which the address then belongs; an
    // empty access is good at either.
    if (offset < region.size || (offset == region.size && size == 0)) {
      return size <= region.size - offset ? region.host + offset : nullptr;
    }
  }
  return nullptr;
}

absl::StatusOr<uint8_t*> GuestMemory::Translate(GuestAddress address, uint64_t size) const {
  uint8_t* const host = Find(address, size);
  if (host == nullptr) {
    return absl::OutOfRangeError(
        absl::StrFormat("%u bytes at 0x%x are not guest memory", size, address.value));
  }
  return host;
}

absl::Status GuestMemory::Read(GuestAddress address, std::span<uint8_t> out) const {
  HULL_ASSIGN_OR_RETURN(const uint8_t* const host, Translate(address, out.size()));
  if (!out.empty()) CopyVolatile(out.data(), host, out.size());
  return absl::OkStatus();
}

absl::Status GuestMemory::Write(GuestAddress address, std::span<const uint8_t> data) const {
  HULL_ASSIGN_OR_RETURN(uint8_t* const host, Translate(address, data.size()));
  if (!data.empty()) CopyVolatile(host, data.data(), data.size());
  return absl::OkStatus();
}

absl::Status GuestMemory::Fill(GuestAddress address, uint8_t value, uint64_t size) const {
  HULL_ASSIGN_OR_RETURN(uint8_t* const host, Translate(address, size));
  std::memset(host, value, size);
  asm volatile("" : : : "memory");
  return absl::OkStatus();
}

absl::StatusOr<uint16_t> GuestMemory::LoadAcquire16(GuestAddress address) const {
  if (address.value % sizeof(uint16_t) != 0) {
    return absl::InvalidArgumentError(absl::StrFormat("0x%x is misaligned", address.value));
  }
  HULL_ASSIGN_OR_RETURN(const GuestView view, View(address, sizeof(uint16_t)));
  return view.LoadAcquire16(0);
}

absl::Status GuestMemory::StoreRelease16(GuestAddress address, uint16_t value) const {
  if (address.value % sizeof(uint16_t) != 0) {
    return absl::InvalidArgumentError(absl::StrFormat("0x%x is misaligned", address.value));
  }
  HULL_ASSIGN_OR_RETURN(const GuestView view, View(address, sizeof(uint16_t)));
  view.StoreRelease16(0, value);
  return absl::OkStatus();
}

absl::StatusOr<GuestView> GuestMemory::View(GuestAddress address, uint64_t size) const {
  HULL_ASSIGN_OR_RETURN(uint8_t* const host, Translate(address, size));
  return GuestView(host, size);
}

bool GuestMemory::Contains(GuestAddress address, uint64_t size) const {
  return Find(address, size) != nullptr;
}

absl::StatusOr<iovec> GuestMemory::Slice(GuestAddress address, uint64_t size) const {
  HULL_ASSIGN_OR_RETURN(uint8_t* const host, Translate(address, size));
  return iovec{host, size};
}

uint64_t GuestMemory::total_size() const {
  uint64_t total = 0;
  for (const Region& region : regions_) total += region.size;
  return total;
}

void CopyToSlices(std::span<const uint8_t> data, std::span<const iovec> slices, uint64_t offset) {
  VisitSlices(slices, offset, data.size(), [&](uint8_t* host, uint64_t position, uint64_t size) {
    CopyVolatile(host, data.data() + position, size);
  });
}

void CopyFromSlices(std::span<const iovec> slices, uint64_t offset, std::span<uint8_t> data) {
  VisitSlices(slices, offset, data.size(), [&](uint8_t* host, uint64_t position, uint64_t size) {
    CopyVolatile(data.data() + position, host, size);
  });
}

}  // namespace hull
