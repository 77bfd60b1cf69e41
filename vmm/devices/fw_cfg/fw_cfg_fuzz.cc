// A hostile guest against the firmware configuration: any access to any register, with a memory in
// which requests lie anywhere.

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "vmm/devices/fw_cfg/device.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fw_cfg = hull::fw_cfg;
  constexpr uint64_t kMemory = 4096;
  auto memory = hull::GuestMemory::Create(
      std::array{hull::GuestMemory::Range{hull::GuestAddress{0}, kMemory}});
  CHECK(memory.ok());
  CHECK(memory->Write(hull::GuestAddress{0}, std::span(data, std::min(size, kMemory))).ok());
  fw_cfg::Items items;
  CHECK(items.AddFile("file", {1, 2, 3, 4, 5}).ok());
  fw_cfg::Device device(std::move(items), *memory);
  // Two bytes a step: which register and how wide; the first of the values.
  for (size_t i = 0; i + 2 <= size; i += 2) {
    const uint64_t offset = (data[i] & 0xf) % fw_cfg::kPortCount;
    size_t width = size_t{1} << (data[i] >> 4 & 3);
    while (offset + width > fw_cfg::kPortCount) width /= 2;
    std::vector<uint8_t> bytes(width, 0);
    if (data[i] >> 7 != 0) {
      device.Read(offset, bytes);
    } else {
      bytes.back() = data[i + 1];
      device.Write(offset, bytes);
    }
  }
  return 0;
}
