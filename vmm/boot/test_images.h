// Kernel images made for tests.

#ifndef VMM_BOOT_TEST_IMAGES_H_
#define VMM_BOOT_TEST_IMAGES_H_

#include <asm/bootparam.h>
#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace hull::boot {

struct TestSegment {
  uint64_t address = 0;
  uint64_t file_offset = 0;
  uint64_t file_size = 0;
  uint64_t memory_size = 0;
  bool writable = false;
};

// An ELF64 executable; the file is as long as its segments need, and byte i of it is
// (i / 4096 + 1) & 0xff behind the headers, so that each page can be told from the others.
inline std::vector<uint8_t> TestElf(const std::vector<TestSegment>& segments, uint64_t entry) {
  size_t size = sizeof(Elf64_Ehdr) + segments.size() * sizeof(Elf64_Phdr);
  for (const TestSegment& segment : segments) {
    size = std::max<size_t>(size, segment.file_offset + segment.file_size);
  }
  std::vector<uint8_t> file(size);
  for (size_t i = 0; i < size; ++i) file[i] = static_cast<uint8_t>(i / 4096 + 1);
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_entry = entry;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<uint16_t>(segments.size());
  std::memcpy(file.data(), &header, sizeof(header));
  for (size_t i = 0; i < segments.size(); ++i) {
    Elf64_Phdr program = {};
    program.p_type = PT_LOAD;
    program.p_flags = PF_R | (segments[i].writable ? PF_W : PF_X);
    program.p_offset = segments[i].file_offset;
    program.p_paddr = segments[i].address;
    program.p_filesz = segments[i].file_size;
    program.p_memsz = segments[i].memory_size;
    std::memcpy(file.data() + sizeof(header) + i * sizeof(program), &program, sizeof(program));
  }
  return file;
}

// A bzImage with one setup sector after the boot sector and `kernel_size` bytes of 0x90.
inline std::vector<uint8_t> TestBzImage(size_t kernel_size) {
  constexpr size_t kKernelOffset = 1024;
  std::vector<uint8_t> file(kKernelOffset + kernel_size, 0x90);
  std::memset(file.data(), 0, kKernelOffset);
  setup_header header = {};
  header.setup_sects = 1;
  header.syssize = static_cast<uint32_t>(kernel_size / 16);
  header.boot_flag = 0xaa55;
  header.jump = 0x6aeb;  // The second byte, 0x6a, is the length of the header from here on.
  header.header = 0x53726448;
  header.version = 0x020f;
  header.loadflags = LOADED_HIGH;
  header.xloadflags = XLF_KERNEL_64;
  header.initrd_addr_max = 0x7fffffff;
  header.kernel_alignment = 0x200000;
  header.relocatable_kernel = 1;
  header.pref_address = 0x1000000;
  header.init_size = 0x800000;
  std::memcpy(file.data() + 0x1f1, &header, sizeof(header));
  return file;
}

// A reader of `image` for ParseElf.
inline auto ReaderOf(std::span<const uint8_t> image) {
  return [image](uint64_t offset, std::span<uint8_t> out) {
    if (offset > image.size() || out.size() > image.size() - offset) {
      return absl::InternalError("the parser read outside the file");
    }
    std::memcpy(out.data(), image.data() + offset, out.size());
    return absl::OkStatus();
  };
}

}  // namespace hull::boot

#endif  // VMM_BOOT_TEST_IMAGES_H_
