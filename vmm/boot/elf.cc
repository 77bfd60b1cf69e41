#include "vmm/boot/elf.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "vmm/base/checked.h"
#include "vmm/base/status_macros.h"

namespace hull::boot {

namespace {

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("ELF kernel: ", what));
}

template <typename T>
std::span<uint8_t> BytesOf(T* object, size_t count = 1) {
  return {reinterpret_cast<uint8_t*>(object), count * sizeof(T)};
}

absl::Status CheckHeader(const Elf64_Ehdr& header) {
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return Invalid("no ELF magic");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
    return Invalid("not a 64-bit little-endian file");
  }
  if (header.e_machine != EM_X86_64) {
    return Invalid(absl::StrCat("for machine ", header.e_machine, ", not x86-64"));
  }
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN) {
    return Invalid("not an executable");
  }
  if (header.e_phentsize != sizeof(Elf64_Phdr)) {
    return Invalid(absl::StrCat("program headers of ", header.e_phentsize, " bytes"));
  }
  if (header.e_phnum == 0 || header.e_phnum > kMaxElfProgramHeaders) {
    return Invalid(absl::StrCat(header.e_phnum, " program headers (1 to ", kMaxElfProgramHeaders,
                                " are allowed)"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ElfSegment> ParseSegment(size_t index, const Elf64_Phdr& header,
                                        uint64_t file_size) {
  const std::string name = absl::StrCat("segment ", index);
  if (header.p_filesz > header.p_memsz) {
    return Invalid(absl::StrCat(name, " has more bytes in the file than in memory"));
  }
  if (!RangeFits<uint64_t>(header.p_offset, header.p_filesz, file_size)) {
    return Invalid(absl::StrCat(name, " lies beyond the end of the file (is it truncated?)"));
  }
  if (!CheckedAdd<uint64_t>(header.p_paddr, header.p_memsz).has_value()) {
    return Invalid(absl::StrCat(name, " wraps around the end of the address space"));
  }
  return ElfSegment{.file_offset = header.p_offset,
                    .file_size = header.p_filesz,
                    .physical_address = header.p_paddr,
                    .memory_size = header.p_memsz,
                    .writable = (header.p_flags & PF_W) != 0};
}

}  // namespace

absl::StatusOr<ElfKernel> ParseElf(uint64_t file_size, ReadAt read) {
  Elf64_Ehdr header;
  if (file_size < sizeof(header)) return Invalid("shorter than an ELF header");
  HULL_RETURN_IF_ERROR(read(0, BytesOf(&header)));
  HULL_RETURN_IF_ERROR(CheckHeader(header));

  std::vector<Elf64_Phdr> table(header.e_phnum);
  if (!RangeFits<uint64_t>(header.e_phoff, table.size() * sizeof(Elf64_Phdr), file_size)) {
    return Invalid("the program headers lie beyond the end of the file (is it truncated?)");
  }
  HULL_RETURN_IF_ERROR(read(header.e_phoff, BytesOf(table.data(), table.size())));

  ElfKernel kernel;
  kernel.entry = header.e_entry;
  for (size_t i = 0; i < table.size(); ++i) {
    if (table[i].p_type != PT_LOAD || table[i].p_memsz == 0) continue;
    HULL_ASSIGN_OR_RETURN(const ElfSegment segment, ParseSegment(i, table[i], file_size));
    kernel.segments.push_back(segment);
  }
  if (kernel.segments.empty()) return Invalid("nothing to load");
  std::sort(kernel.segments.begin(), kernel.segments.end(),
            [](const ElfSegment& a, const ElfSegment& b) {
              return a.physical_address < b.physical_address;
            });
  for (size_t i = 1; i < kernel.segments.size(); ++i) {
    if (kernel.segments[i - 1].physical_end() > kernel.segments[i].physical_address) {
      return Invalid(absl::StrCat("two segments overlap at 0x",
                                  absl::Hex(kernel.segments[i].physical_address)));
    }
  }
  const bool entry_loaded =
      std::any_of(kernel.segments.begin(), kernel.segments.end(), [&](const ElfSegment& segment) {
        return kernel.entry >= segment.physical_address &&
               kernel.entry - segment.physical_address < segment.file_size;
      });
  if (!entry_loaded) {
    return Invalid(
        absl::StrCat("the entry point 0x", absl::Hex(kernel.entry), " is in no segment"));
  }
  return kernel;
}

}  // namespace hull::boot
