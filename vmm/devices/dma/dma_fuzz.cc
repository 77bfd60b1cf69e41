// A hostile guest against the DMA controllers: whatever they are told, a transfer moves no more
// than a device offered, below 16 MiB, and ends.

#include <glog/logging.h>

#include <cstddef>
#include <cstdint>

#include "vmm/devices/dma/controller.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using hull::dma::Controller;
  Controller controller;
  // Two bytes a step: a port and a value, or a channel and how much.
  for (size_t i = 0; i + 2 <= size; i += 2) {
    const uint8_t what = data[i];
    if (what >= 0x40 && what < 0x60) {
      const auto direction =
          (what & 8) != 0 ? Controller::Direction::kToMemory : Controller::Direction::kFromMemory;
      const size_t limit = size_t{data[i + 1]} << (what & 0x10);
      const Controller::Chunk chunk = controller.Advance(what & 7, direction, limit);
      CHECK_LE(chunk.size, limit);
      CHECK_LE(uint64_t{chunk.address} + chunk.size, uint64_t{1} << 24);
      CHECK(chunk.size != 0 || !chunk.terminal_count);
    } else if (what >= 0x60 && what < 0x80) {
      controller.ReadPort(data[i + 1]);
    } else {
      controller.WritePort(what, data[i + 1]);
    }
  }
  return 0;
}
