// A hostile guest against the VGA: whatever its registers hold, accesses stay within the memory and
// a screen within its bounds.

#include <glog/logging.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vmm/devices/vga/adapter.h"
#include "vmm/devices/vga/screen.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace vga = hull::vga;
  std::vector<uint8_t> frame_buffer(vga::kFrameBufferSize);
  vga::Adapter adapter(frame_buffer);
  // Three bytes a step: an access, and two of address and value.
  for (size_t i = 0; i + 3 <= size; i += 3) {
    const uint64_t address = (uint64_t{data[i]} << 9 | uint64_t{data[i + 1]}) % vga::kWindowSize;
    const auto port = static_cast<uint16_t>(vga::kFirstPort + data[i + 1] % vga::kPortCount);
    if ((data[i] & 0x84) == 0x84) {
      // A register of the VBE, of an index that there is or of any, and small values or any.
      adapter.WriteVbe(false, data[i + 1] % (vga::kVbeRegisters + 1));
      adapter.WriteVbe(true, static_cast<uint16_t>(data[i + 2] << (data[i] & 8)));
      adapter.ReadVbe(true);
      continue;
    }
    switch (data[i] & 3) {
      case 0:
      case 1:
        adapter.WritePort(port, data[i + 2]);
        break;
      case 2:
        adapter.ReadPort(port, absl::Microseconds(data[i + 2] * data[i]));
        adapter.ReadMemory(address);
        break;
      default:
        adapter.WriteMemory(address, data[i + 2]);
        break;
    }
  }
  const vga::State state = adapter.Snapshot();
  const vga::TextScreen text = vga::ReadText(state);
  CHECK_LE(text.columns, vga::kMaxColumns);
  CHECK_LE(text.rows, vga::kMaxRows);
  CHECK_EQ(text.cells.size(), size_t{text.columns} * text.rows);
  const vga::Picture picture = vga::Draw(state);
  CHECK_LE(picture.width, vga::kMaxWidth);
  CHECK_LE(picture.height, vga::kMaxHeight);
  CHECK_EQ(picture.rgb.size(), size_t{picture.width} * picture.height * 3);
  return 0;
}
