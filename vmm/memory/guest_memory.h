// The guest's RAM, reachable only through checked copies.

#ifndef VMM_MEMORY_GUEST_MEMORY_H_
#define VMM_MEMORY_GUEST_MEMORY_H_

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/base/scoped_mmap.h"
#include "vmm/memory/guest_address.h"
#include "vmm/memory/guest_view.h"

namespace hull {

// Guest RAM as a few regions of anonymous private memory, never pre-touched, left out of core
// dumps.
//
// The guest runs while the VMM reads, so the memory is volatile: every access here is one copy, no
// reference escapes, and what was copied does not change under the caller. The exception is
// Slice(), whose iovec is for a system call and nothing else.
//
// Every address and size may come from the guest. An access that is not wholly inside one region
// (regions that touch are still two) fails with kOutOfRange and has no effect.
//
// Pages are anonymous until touched, or a file's after MapFile; the host's overcommit policy is not
// asked for all of it at once (MAP_NORESERVE), as a guest seldom touches what it was given.
//
// Thread-safe: the layout is fixed after Create and MapFile. Concurrent copies of the same bytes
// are not atomic towards each other, as between any two agents of one memory.
class GuestMemory {
 public:
  struct Range {
    GuestAddress start;
    uint64_t size = 0;  // Bytes; a non-zero multiple of the page size.
  };

  // What KVM_SET_USER_MEMORY_REGION is told.
  struct Region {
    GuestAddress start;
    uint64_t size = 0;
    uint8_t* host = nullptr;
  };

  // Ranges must be in ascending order, page-aligned, and not overlap or wrap: kInvalidArgument.
  // kResourceExhausted when the host cannot map that much.
  static absl::StatusOr<GuestMemory> Create(std::span<const Range> ranges);

  GuestMemory(GuestMemory&&) = default;
  GuestMemory& operator=(GuestMemory&&) = default;

  // Asks the host to back [start, start + size) by huge pages, which it may not do: for memory that
  // the guest is about to touch much of, since a huge page is touched whole. The host's addresses
  // are aligned for it where the guest's are. kOutOfRange if that is not guest memory.
  absl::Status PreferHugePages(GuestAddress start, uint64_t size);
  // The opposite, for memory that the guest touches little of. Where neither is said, the host's
  // policy holds.
  absl::Status AvoidHugePages(GuestAddress start, uint64_t size);

  // Replaces [start, start + size) by a private (copy-on-write) mapping of `fd` at `offset`, so
  // that VMs share the file's clean pages. `start`, `size` and `offset` are page-aligned. The file
  // must be a regular one (kInvalidArgument) and reach to offset + size rounded up to a page (past
  // its last page a mapping faults: kOutOfRange). Before the guest runs. After any other error the
  // range may be unmapped: give the whole memory up.
  absl::Status MapFile(GuestAddress start, uint64_t size, int fd, off_t offset);

  // Asks the host to hold the huge page of the file that MapFile put at `start` as such, for all
  // who map it: what several VMs' guests read is then one fault for each instead of hundreds. Costs
  // the copying of it the first time. `start` is a multiple of 2 MiB, at an offset that is one. A
  // host that cannot leaves it as it was.
  absl::Status GatherHugePage(GuestAddress start);

  absl::Status Read(GuestAddress address, std::span<uint8_t> out) const;
  absl::Status Write(GuestAddress address, std::span<const uint8_t> data) const;
  absl::Status Fill(GuestAddress address, uint8_t value, uint64_t size) const;

  template <typename T>
  absl::StatusOr<T> ReadObject(GuestAddress address) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T object;
    absl::Status status =
        Read(address, std::span(reinterpret_cast<uint8_t*>(&object), sizeof(object)));
    if (!status.ok()) return status;
    return object;
  }

  template <typename T>
  absl::Status WriteObject(GuestAddress address, const T& object) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return Write(address, std::span(reinterpret_cast<const uint8_t*>(&object), sizeof(object)));
  }

  // Aligned little-endian ring indices shared with the guest's CPUs. kInvalidArgument when
  // misaligned.
  absl::StatusOr<uint16_t> LoadAcquire16(GuestAddress address) const;
  absl::Status StoreRelease16(GuestAddress address, uint16_t value) const;

  // A part of one region, translated once: for rings that are accessed all the time.
  absl::StatusOr<GuestView> View(GuestAddress address, uint64_t size) const;

  // Whether [address, address + size) lies wholly inside one region. A size of 0 is contained where
  // `address` itself is, or is the end of, a region.
  bool Contains(GuestAddress address, uint64_t size) const;

  // The host's view of [address, address + size), to be handed to readv, writev, preadv, pwritev,
  // io_uring, recvmsg or sendmsg, or to CopyToSlices and CopyFromSlices below, and to nothing else:
  // never dereferenced.
  absl::StatusOr<iovec> Slice(GuestAddress address, uint64_t size) const;

  std::span<const Region> regions() const { return regions_; }
  uint64_t total_size() const;

 private:
  GuestMemory() = default;
  // Null when [address, address + size) is not wholly inside one region.
  uint8_t* Find(GuestAddress address, uint64_t size) const;
  absl::StatusOr<uint8_t*> Translate(GuestAddress address, uint64_t size) const;
  absl::Status Advise(GuestAddress start, uint64_t size, int advice);

  std::vector<ScopedMmap> mappings_;
  std::vector<Region> regions_;  // Ascending; few, so that a linear search is the fastest.
};

// Copies between a buffer of the host's and what Slice returned, `offset` bytes into the slices:
// for I/O that cannot go to guest memory as it lies there. All of `data` must fit; that is the
// caller's invariant (CHECK).
void CopyToSlices(std::span<const uint8_t> data, std::span<const iovec> slices, uint64_t offset);
void CopyFromSlices(std::span<const iovec> slices, uint64_t offset, std::span<uint8_t> data);

}  // namespace hull

#endif  // VMM_MEMORY_GUEST_MEMORY_H_
