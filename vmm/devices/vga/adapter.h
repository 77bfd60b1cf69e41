// A VGA's registers and its memory as the CPU sees them.
//
// IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"; FreeVGA project, "VGA/SVGA
// Video Programming".

#ifndef VMM_DEVICES_VGA_ADAPTER_H_
#define VMM_DEVICES_VGA_ADAPTER_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/time/time.h"
#include "vmm/devices/vga/vbe.h"
#include "vmm/devices/vga/wire.h"

namespace hull::vga {

// All that a screen is drawn from.
struct State {
  uint8_t misc = 0;
  std::array<uint8_t, kSequencerRegisters> sequencer = {};
  std::array<uint8_t, kGraphicsRegisters> graphics = {};
  std::array<uint8_t, kCrtcRegisters> crtc = {};
  std::array<uint8_t, kAttributeRegisters> attribute = {};
  bool palette_on = false;  // The attribute controller shows memory, not the border alone.
  uint8_t dac_mask = 0xff;
  std::array<uint8_t, 256 * 3> dac = {};  // Red, green, blue; 6 bits each, or 8 if the VBE says so.
  // Byte `a` of plane `p` is at 4 * a + p.
  std::vector<uint8_t> memory = std::vector<uint8_t>(kPlanes * kPlaneSize);
  Vbe vbe;
  // What of the frame buffer is seen, if the VBE shows it: vbe.Size() bytes; only in a snapshot.
  std::vector<uint8_t> frame;
};

// Pure register logic: time is passed in, since the machine's start. Not thread-safe.
class Adapter {
 public:
  // kFrameBufferSize bytes, which the guest may write to at any time, and which outlive this.
  explicit Adapter(std::span<uint8_t> frame_buffer) : frame_buffer_(frame_buffer) {}

  uint8_t ReadPort(uint16_t port, absl::Duration now);
  void WritePort(uint16_t port, uint8_t value);
  uint16_t ReadVbe(bool data) const {
    return data ? state_.vbe.ReadData() : state_.vbe.ReadIndex();
  }
  void WriteVbe(bool data, uint16_t value);

  // `offset` into the window, below kWindowSize. Where no memory answers, a read gives 0xff.
  uint8_t ReadMemory(uint64_t offset);
  void WriteMemory(uint64_t offset, uint8_t value);

  const State& state() const { return state_; }
  // With what is seen of the frame buffer.
  State Snapshot() const;

 private:
  // The offset into what of the window the memory map register selects.
  std::optional<uint32_t> MapWindow(uint64_t offset) const;
  bool IsCrtcPort(uint16_t port) const;
  uint8_t InputStatus(absl::Duration now);
  void WriteAttribute(uint8_t value);
  void WriteCrtc(uint8_t value);
  void WriteDac(uint8_t value);
  uint8_t ReadDac();
  uint8_t Byte(uint32_t address, size_t plane) const {
    return state_.memory[4 * size_t{address} + plane];
  }
  void WritePlanes(uint32_t address, uint8_t planes, uint8_t value);

  const std::span<uint8_t> frame_buffer_;
  State state_;
  uint8_t sequencer_index_ = 0;
  uint8_t graphics_index_ = 0;
  uint8_t crtc_index_ = 0;
  uint8_t attribute_index_ = 0;
  bool attribute_data_next_ = false;
  uint8_t dac_index_ = 0;
  uint8_t dac_component_ = 0;
  bool dac_reading_ = false;
  std::array<uint8_t, kPlanes> latches_ = {};
};

}  // namespace hull::vga

#endif  // VMM_DEVICES_VGA_ADAPTER_H_
