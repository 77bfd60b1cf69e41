// The position in an item that the selector register and the data register share, and the requests
// of the DMA register.
//
// QEMU's documentation, specs/fw_cfg, "Data Register" and "Guest-side DMA Interface".

#ifndef VMM_DEVICES_FW_CFG_READER_H_
#define VMM_DEVICES_FW_CFG_READER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "vmm/devices/fw_cfg/items.h"

namespace hull::fw_cfg {

// What one DMA request asks for.
struct Request {
  std::optional<uint16_t> select;  // Start of this item, before anything else.
  enum class Action { kNothing, kRead, kSkip, kError } action = Action::kNothing;
  uint32_t size = 0;
  uint64_t address = 0;  // Where to, in guest memory. // guest-controlled
};

// In guest memory: control, length and address, all big-endian.
inline constexpr size_t kRequestSize = 16;
// More than any item has: a request beyond it is an error.
inline constexpr uint32_t kMaxTransfer = 1 << 20;

// Items are read-only, so a request to write is an error. Pure.
Request ParseRequest(const std::array<uint8_t, kRequestSize>& bytes);

// Not thread-safe.
class Reader {
 public:
  explicit Reader(Items items) : items_(std::move(items)) {}

  // From its first byte on. An item that is not there is empty.
  void Select(uint16_t key);
  // Behind an item's end are zeroes.
  uint8_t ReadByte();
  // What is left of the item, at most `size` bytes of it; the position is then behind `size` bytes.
  std::span<const uint8_t> Take(uint32_t size);

 private:
  const Items items_;
  std::span<const uint8_t> rest_;  // Of the selected item.
};

}  // namespace hull::fw_cfg

#endif  // VMM_DEVICES_FW_CFG_READER_H_
