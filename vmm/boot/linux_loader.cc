#include "vmm/boot/linux_loader.h"

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "vmm/base/checked.h"
#include "vmm/base/file_io.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/elf.h"

namespace hull::boot {

namespace {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kHugePageSize = uint64_t{2} << 20;
// vmlinux has no header to say how high an initramfs may lie; this is what kernels of every version
// take (the default of initrd_addr_max).
constexpr uint64_t kDefaultInitramfsLimit = 0x80000000;

constexpr uint64_t PageDown(uint64_t value) { return value & ~(kPageSize - 1); }

absl::StatusOr<uint64_t> RegularFileSize(int fd) {
  struct stat info;
  if (fstat(fd, &info) != 0) return PosixError("fstat");
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("not a regular file");
  if (info.st_size == 0) return absl::InvalidArgumentError("the file is empty");
  return static_cast<uint64_t>(info.st_size);
}

absl::Status ReadExactly(int fd, uint64_t offset, std::span<uint8_t> out) {
  HULL_ASSIGN_OR_RETURN(const size_t read, PreadFull(fd, out, static_cast<off_t>(offset)));
  if (read < out.size()) return absl::DataLossError("the file became shorter while it was read");
  return absl::OkStatus();
}

// Reads [offset, offset + size) of the file straight into guest memory.
absl::Status CopyFile(const GuestMemory& memory, uint64_t address, uint64_t size, int fd,
                      uint64_t offset) {
  while (size > 0) {
    HULL_ASSIGN_OR_RETURN(const iovec slice, memory.Slice(GuestAddress{address}, size));
    const ssize_t n = preadv(fd, &slice, 1, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return PosixError("read");
    if (n == 0) return absl::DataLossError("the file became shorter while it was read");
    address += static_cast<uint64_t>(n);
    offset += static_cast<uint64_t>(n);
    size -= static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

// The same, but maps the whole pages of it where the file's and the guest's pages coincide.
absl::Status MapOrCopyFile(GuestMemory& memory, uint64_t address, uint64_t size, int fd,
                           uint64_t offset) {
  const uint64_t first = (address + kPageSize - 1) & ~(kPageSize - 1);
  const uint64_t last = PageDown(address + size);
  if ((address ^ offset) % kPageSize != 0 || first >= last) {
    return CopyFile(memory, address, size, fd, offset);
  }
  HULL_RETURN_IF_ERROR(CopyFile(memory, address, first - address, fd, offset));
  HULL_RETURN_IF_ERROR(memory.MapFile(GuestAddress{first}, last - first, fd,
                                      static_cast<off_t>(offset + (first - address))));
  return CopyFile(memory, last, address + size - last, fd, offset + (last - address));
}

constexpr uint64_t HugePageDown(uint64_t value) { return value & ~(kHugePageSize - 1); }

bool Overlaps(const ElfSegment& segment, uint64_t start, uint64_t end) {
  return segment.physical_address < end && segment.physical_end() > start;
}

// The one huge page in which everything lies that the file has of writable segments, if there is
// such a page, with nothing else in it. A kernel takes most of that at once, and writes to much of
// it.
std::optional<uint64_t> DataPage(const GuestMemory& memory, const ElfKernel& kernel) {
  std::optional<uint64_t> page;
  for (const ElfSegment& segment : kernel.segments) {
    if (!segment.writable || segment.file_size == 0) continue;
    if (!page.has_value()) page = HugePageDown(segment.physical_address);
    if (segment.physical_address + segment.file_size > *page + kHugePageSize) return std::nullopt;
  }
  if (!page.has_value() || !memory.Contains(GuestAddress{*page}, kHugePageSize)) {
    return std::nullopt;
  }
  for (const ElfSegment& segment : kernel.segments) {
    if (!segment.writable && Overlaps(segment, *page, *page + kHugePageSize)) return std::nullopt;
  }
  return page;
}

// How much of the file there is for a read-only segment: to the end of its last huge page, where
// nothing else is before that and the file goes on, so that this page can be one of the host's.
uint64_t MappedSize(const GuestMemory& memory, const ElfKernel& kernel, const ElfSegment& segment,
                    uint64_t file_size) {
  const uint64_t start = segment.physical_address;
  const uint64_t end = HugePageDown(segment.physical_end() + kHugePageSize - 1);
  if (segment.writable || segment.file_size != segment.memory_size ||
      (start ^ segment.file_offset) % kHugePageSize != 0 ||
      !RangeFits<uint64_t>(segment.file_offset, end - start, file_size) ||
      !memory.Contains(GuestAddress{start}, end - start)) {
    return segment.file_size;
  }
  for (const ElfSegment& other : kernel.segments) {
    if (&other != &segment && Overlaps(other, start, end)) return segment.file_size;
  }
  return end - start;
}

// Of a kernel that begins with a read-only segment, the first huge page, with the functions that
// every start runs (kernel-config, patch 12), and the last, with the constants, are read nearly
// whole.
absl::Status GatherReadOnly(GuestMemory& memory, const ElfSegment& first, uint64_t mapped) {
  if (first.writable || mapped < kHugePageSize || mapped % kHugePageSize != 0 ||
      first.physical_address % kHugePageSize != 0) {
    return absl::OkStatus();
  }
  HULL_RETURN_IF_ERROR(memory.GatherHugePage(GuestAddress{first.physical_address}));
  return memory.GatherHugePage(GuestAddress{first.physical_address + mapped - kHugePageSize});
}

absl::Status CheckFits(const GuestMemory& memory, uint64_t floor, uint64_t start, uint64_t size) {
  if (start < floor) {
    return absl::InvalidArgumentError(absl::StrCat("a kernel at 0x", absl::Hex(start), ", below 0x",
                                                   absl::Hex(floor),
                                                   " where the boot parameters are"));
  }
  if (!memory.Contains(GuestAddress{start}, size)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the kernel needs memory from 0x", absl::Hex(start), " to 0x", absl::Hex(start + size),
        ", which exceeds the guest's ", memory.total_size() >> 20, " MiB"));
  }
  return absl::OkStatus();
}

absl::StatusOr<LoadedKernel> LoadElf(GuestMemory& memory, uint64_t floor, int fd,
                                     uint64_t file_size) {
  HULL_ASSIGN_OR_RETURN(const ElfKernel kernel,
                        ParseElf(file_size, [fd](uint64_t offset, std::span<uint8_t> out) {
                          return ReadExactly(fd, offset, out);
                        }));
  for (const ElfSegment& segment : kernel.segments) {
    HULL_RETURN_IF_ERROR(CheckFits(memory, floor, segment.physical_address, segment.memory_size));
  }
  const std::optional<uint64_t> data_page = DataPage(memory, kernel);
  if (data_page.has_value()) {
    HULL_RETURN_IF_ERROR(memory.PreferHugePages(GuestAddress{*data_page}, kHugePageSize));
  }
  // The rest of each segment stays as it is: fresh guest memory is zero.
  for (const ElfSegment& segment : kernel.segments) {
    if (segment.writable && data_page.has_value()) {
      HULL_RETURN_IF_ERROR(
          CopyFile(memory, segment.physical_address, segment.file_size, fd, segment.file_offset));
      continue;
    }
    const uint64_t mapped = MappedSize(memory, kernel, segment, file_size);
    HULL_RETURN_IF_ERROR(
        MapOrCopyFile(memory, segment.physical_address, mapped, fd, segment.file_offset));
    if (&segment == &kernel.segments.front()) {
      HULL_RETURN_IF_ERROR(GatherReadOnly(memory, segment, mapped));
    }
  }
  return LoadedKernel{.entry = kernel.entry,
                      .end = kernel.segments.back().physical_end(),
                      .initramfs_limit = kDefaultInitramfsLimit,
                      .header = std::nullopt};
}

absl::StatusOr<LoadedKernel> LoadBzImage(const GuestMemory& memory, uint64_t floor, int fd,
                                         uint64_t file_size, std::span<const uint8_t> head) {
  HULL_ASSIGN_OR_RETURN(const BzImage image, ParseBzImage(head, file_size));
  HULL_RETURN_IF_ERROR(CheckFits(memory, floor, image.load_address, image.init_size));
  HULL_RETURN_IF_ERROR(
      CopyFile(memory, image.load_address, image.kernel_size, fd, image.kernel_offset));
  return LoadedKernel{.entry = image.entry,
                      .end = image.load_address + image.init_size,
                      .initramfs_limit = uint64_t{image.header.initrd_addr_max} + 1,
                      .header = image.header};
}

}  // namespace

absl::StatusOr<LoadedKernel> LoadKernel(GuestMemory& memory, uint64_t floor, int fd) {
  HULL_ASSIGN_OR_RETURN(const uint64_t file_size, RegularFileSize(fd));
  std::array<uint8_t, kBzImageHeaderSize> buffer;
  const std::span<uint8_t> head(buffer.data(), std::min<uint64_t>(buffer.size(), file_size));
  HULL_RETURN_IF_ERROR(ReadExactly(fd, 0, head));
  if (LooksLikeBzImage(head)) return LoadBzImage(memory, floor, fd, file_size, head);
  static constexpr uint8_t kElfMagic[] = {0x7f, 'E', 'L', 'F'};
  if (head.size() < sizeof(kElfMagic) ||
      !std::equal(std::begin(kElfMagic), std::end(kElfMagic), head.begin())) {
    return absl::InvalidArgumentError("neither an ELF vmlinux nor a bzImage");
  }
  return LoadElf(memory, floor, fd, file_size);
}

absl::StatusOr<MemoryRange> LoadInitramfs(GuestMemory& memory, uint64_t floor, uint64_t limit,
                                          int fd) {
  HULL_ASSIGN_OR_RETURN(const uint64_t size, RegularFileSize(fd));
  const std::optional<uint64_t> lowest = CheckedAlignUp<uint64_t>(floor, kPageSize);
  if (!lowest.has_value() || size > limit || PageDown(limit - size) < *lowest) {
    return absl::InvalidArgumentError(
        absl::StrCat(size, " bytes do not fit between the kernel and the end of the guest's ",
                     memory.total_size() >> 20, " MiB"));
  }
  const MemoryRange range{.start = PageDown(limit - size), .size = size};
  HULL_RETURN_IF_ERROR(MapOrCopyFile(memory, range.start, range.size, fd, 0));
  return range;
}

absl::Status WriteCommandLine(const GuestMemory& memory, GuestAddress address,
                              absl::string_view command_line) {
  if (command_line.size() >= kMaxCommandLine) {
    return absl::InvalidArgumentError(absl::StrCat("a kernel command line of ", command_line.size(),
                                                   " bytes; at most ", kMaxCommandLine - 1,
                                                   " are possible"));
  }
  if (command_line.find('\0') != absl::string_view::npos) {
    return absl::InvalidArgumentError("a NUL in the kernel command line");
  }
  // Fresh guest memory behind it is zero: that terminates it.
  return memory.Write(address, std::span(reinterpret_cast<const uint8_t*>(command_line.data()),
                                         command_line.size()));
}

absl::Status WriteSetupData(const GuestMemory& memory, GuestAddress address, uint64_t limit,
                            std::span<const SetupDataItem> items) {
  uint64_t position = address.value;
  for (size_t i = 0; i < items.size(); ++i) {
    const std::span<const uint8_t> data = items[i].data;
    if (!RangeFits<uint64_t>(position, sizeof(setup_data) + data.size(), limit)) {
      return absl::ResourceExhaustedError("the hardware description does not fit its place");
    }
    const uint64_t payload = position + sizeof(setup_data);
    // The kernel reads each element where it lies, so keep them aligned.
    const uint64_t next = (payload + data.size() + 15) & ~uint64_t{15};
    setup_data element = {};
    element.next = i + 1 < items.size() ? next : 0;
    element.type = items[i].type;
    element.len = static_cast<uint32_t>(data.size());
    HULL_RETURN_IF_ERROR(
        memory.Write(GuestAddress{position},
                     std::span(reinterpret_cast<const uint8_t*>(&element), sizeof(element))));
    HULL_RETURN_IF_ERROR(memory.Write(GuestAddress{payload}, data));
    position = next;
  }
  return absl::OkStatus();
}

}  // namespace hull::boot
