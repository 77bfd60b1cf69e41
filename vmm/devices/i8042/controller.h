// The registers of a PC's keyboard controller, with the keyboard and the mouse at its two ports.
//
// IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller",
// "Keyboards" and "Mouse".

#ifndef VMM_DEVICES_I8042_CONTROLLER_H_
#define VMM_DEVICES_I8042_CONTROLLER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace hull::i8042 {

// A queue of bytes that drops what it has no room for.
template <size_t kSize>
class Fifo {
 public:
  bool empty() const { return used_ == 0; }
  size_t room() const { return kSize - used_; }
  void Clear() { used_ = 0; }
  void Put(uint8_t byte) {
    if (used_ == kSize) return;
    bytes_[(head_ + used_++) % kSize] = byte;
  }
  // Not of an empty one.
  uint8_t Take() {
    const uint8_t byte = bytes_[head_];
    head_ = (head_ + 1) % kSize;
    --used_;
    return byte;
  }

 private:
  std::array<uint8_t, kSize> bytes_ = {};
  size_t head_ = 0;
  size_t used_ = 0;
};

// Pure register logic. Not thread-safe.
class Controller {
 public:
  // What the caller is to do after an access; false again once taken.
  struct Signals {
    bool keyboard_interrupt = false;
    bool mouse_interrupt = false;
    bool reset = false;  // The CPU's reset line was pulsed.
  };

  uint8_t ReadData();
  uint8_t ReadStatus() const;
  void WriteData(uint8_t value);
  void WriteCommand(uint8_t command);

  // Keys, as codes of scan code set 1 (a release has bit 7 set, 0xe0 and 0xe1 are prefixes).
  // Returns how many codes were taken: the guest has not read what came before.
  size_t PressKeys(std::span<const uint8_t> codes);

  // Movement to the right and upwards, and the buttons that are down (bit 0 left, 1 right, 2
  // middle). Nothing happens while the guest has no use for it.
  void MoveMouse(int dx, int dy, uint8_t buttons);

  Signals TakeSignals();

 private:
  enum class Source : uint8_t { kController, kKeyboard, kMouse };

  void KeyboardCommand(uint8_t value);
  void MouseCommand(uint8_t value);
  void ResetKeyboard();
  void ResetMouse();
  void QueueKey(uint8_t code);
  void SetOutputPort(uint8_t value);
  bool Translates() const;
  // Moves the next byte that waits into an empty output buffer.
  void FillOutput();

  uint8_t command_byte_ = 0x45;             // Translation, system flag, keyboard interrupt.
  std::optional<uint8_t> pending_command_;  // Of the controller's, which waits for its parameter.
  bool last_was_command_ = false;
  bool a20_ = true;

  std::optional<uint8_t> output_;
  Source output_source_ = Source::kController;
  std::optional<uint8_t> reply_;  // The controller's own.

  Fifo<16> keyboard_replies_;
  Fifo<256> keys_;
  uint8_t keyboard_parameter_of_ = 0;  // The command that waits for its parameter, or 0.
  bool scanning_ = true;
  uint8_t scan_code_set_ = 2;

  Fifo<16> mouse_replies_;
  Fifo<255> movements_;  // A multiple of a packet, so that none is cut.
  uint8_t mouse_parameter_of_ = 0;
  bool reporting_ = false;
  uint8_t resolution_ = 2;
  uint8_t sample_rate_ = 100;
  uint8_t buttons_ = 0;

  Signals signals_;
};

}  // namespace hull::i8042

#endif  // VMM_DEVICES_I8042_CONTROLLER_H_
