// A hostile guest against the keyboard controller while somebody types and moves the mouse: there
// is never more to read than its queues hold.

#include <glog/logging.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vmm/devices/i8042/controller.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  hull::i8042::Controller controller;
  // Two bytes a step: what, and a value.
  for (size_t i = 0; i + 2 <= size; i += 2) {
    const uint8_t value = data[i + 1];
    switch (data[i] % 6) {
      case 0:
        controller.WriteData(value);
        break;
      case 1:
        controller.WriteCommand(value);
        break;
      case 2:
        controller.ReadData();
        break;
      case 3: {
        const std::vector<uint8_t> keys(data[i], value);
        CHECK_LE(controller.PressKeys(keys), keys.size());
        break;
      }
      case 4:
        controller.MoveMouse(static_cast<int8_t>(value) * 5, data[i], value);
        break;
      default:
        controller.TakeSignals();
        break;
    }
  }
  size_t left = 0;
  while ((controller.ReadStatus() & 1) != 0) {
    controller.ReadData();
    CHECK_LE(++left, size_t{600});
  }
  return 0;
}
