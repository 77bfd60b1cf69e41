// The registers of a PC's two cascaded 8237A DMA controllers and of their page registers.
//
// Intel 8237A data sheet, "Register Description"; IBM PC AT Technical Reference, "DMA" (ports, page
// registers, 16-bit channels).

#ifndef VMM_DEVICES_DMA_CONTROLLER_H_
#define VMM_DEVICES_DMA_CONTROLLER_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace hull::dma {

inline constexpr size_t kChannels = 8;  // 4 is the cascade; 5 to 7 move 16-bit words.

// Pure register logic. Not thread-safe.
class Controller {
 public:
  enum class Direction { kToMemory, kFromMemory };

  // A piece of memory that is to be transferred in one go.
  struct Chunk {
    uint32_t address = 0;         // Below 16 MiB. // guest-controlled
    size_t size = 0;              // Bytes; 0 if the controller is not ready for this transfer.
    bool to_memory = false;       // Else the data is only counted (a "verify" transfer).
    bool terminal_count = false;  // The count ends with this chunk.
  };

  // Ports 0x00 to 0x0f, 0x80 to 0x8f and 0xc0 to 0xdf. Others read as 0xff and ignore writes.
  uint8_t ReadPort(uint16_t port);
  void WritePort(uint16_t port, uint8_t value);

  // Advances `channel` (below kChannels) by at most `limit` bytes, and says where they go or come
  // from.
  Chunk Advance(size_t channel, Direction direction, size_t limit);

 private:
  struct Channel {
    uint16_t base_address = 0;
    uint16_t base_count = 0;
    uint16_t address = 0;
    uint16_t count = 0;  // One less than the transfers that are left.
    uint8_t mode = 0;
    bool masked = true;
    bool requested = false;  // By software; kept, as the register can be read back.
    bool terminal_count = false;
  };
  struct Chip {
    std::array<Channel, 4> channels;
    bool high_byte = false;  // The flip-flop: which half of a 16-bit register is next.
    bool disabled = false;
  };

  uint8_t ReadChip(Chip& chip, uint8_t reg);
  void WriteChip(Chip& chip, uint8_t reg, uint8_t value);
  static void Reset(Chip& chip);

  std::array<Chip, 2> chips_;
  std::array<uint8_t, 16> pages_ = {};
};

}  // namespace hull::dma

#endif  // VMM_DEVICES_DMA_CONTROLLER_H_
