#include "vmm/boot/boot_params.h"

#include <algorithm>
#include <limits>

#include "absl/status/status.h"
#include "vmm/base/checked.h"

namespace hull::boot {

namespace {

constexpr uint32_t kE820Ram = 1;
// "Undefined" boot loader: none of those with a number.
constexpr uint8_t kLoaderType = 0xff;
constexpr uint64_t k4GiB = uint64_t{1} << 32;

}  // namespace

absl::StatusOr<boot_params> BuildBootParams(const BootParamsConfig& config) {
  if (config.ram.size() > E820_MAX_ENTRIES_ZEROPAGE || config.command_line_address >= k4GiB ||
      !RangeFits<uint64_t>(config.initramfs.start, config.initramfs.size, k4GiB)) {
    return absl::InvalidArgumentError("boot parameters beyond the format's limits");
  }
  boot_params params = {};
  if (config.header.has_value()) params.hdr = *config.header;
  setup_header& header = params.hdr;
  // vmlinux carries no header, but the kernel looks at these whichever way it was loaded.
  header.boot_flag = 0xaa55;
  header.header = 0x53726448;  // "HdrS"
  header.type_of_loader = kLoaderType;
  header.loadflags |= LOADED_HIGH;
  header.cmd_line_ptr = static_cast<uint32_t>(config.command_line_address);
  header.cmdline_size = kMaxCommandLine - 1;
  header.setup_data = config.setup_data_address;
  header.ramdisk_image = static_cast<uint32_t>(config.initramfs.start);
  header.ramdisk_size = static_cast<uint32_t>(config.initramfs.size);

  params.e820_entries = static_cast<uint8_t>(config.ram.size());
  std::transform(
      config.ram.begin(), config.ram.end(), params.e820_table, [](const MemoryRange& range) {
        return boot_e820_entry{.addr = range.start, .size = range.size, .type = kE820Ram};
      });
  return params;
}

}  // namespace hull::boot
