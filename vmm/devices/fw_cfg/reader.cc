#include "vmm/devices/fw_cfg/reader.h"

#include <algorithm>

namespace hull::fw_cfg {

namespace {

// Of the control field; the key to select is in its upper 16 bits.
constexpr uint32_t kControlRead = 1 << 1;
constexpr uint32_t kControlSkip = 1 << 2;
constexpr uint32_t kControlSelect = 1 << 3;
constexpr uint32_t kControlWrite = 1 << 4;

uint64_t BigEndian(std::span<const uint8_t> bytes) {
  uint64_t value = 0;
  for (const uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

}  // namespace

Request ParseRequest(const std::array<uint8_t, kRequestSize>& bytes) {
  const std::span<const uint8_t> all(bytes);
  const uint32_t control = static_cast<uint32_t>(BigEndian(all.first(4)));
  Request request;
  request.size = static_cast<uint32_t>(BigEndian(all.subspan(4, 4)));
  request.address = BigEndian(all.subspan(8, 8));
  if ((control & kControlSelect) != 0) request.select = static_cast<uint16_t>(control >> 16);
  if ((control & kControlRead) != 0) {
    request.action = Request::Action::kRead;
  } else if ((control & kControlWrite) != 0) {
    request.action = Request::Action::kError;
  } else if ((control & kControlSkip) != 0) {
    request.action = Request::Action::kSkip;
  }
  if (request.size > kMaxTransfer) request.action = Request::Action::kError;
  return request;
}

void Reader::Select(uint16_t key) { rest_ = items_.Get(key); }

uint8_t Reader::ReadByte() {
  const std::span<const uint8_t> byte = Take(1);
  return byte.empty() ? 0 : byte[0];
}

std::span<const uint8_t> Reader::Take(uint32_t size) {
  const std::span<const uint8_t> taken = rest_.first(std::min<size_t>(size, rest_.size()));
  rest_ = rest_.subspan(taken.size());
  return taken;
}

}  // namespace hull::fw_cfg
