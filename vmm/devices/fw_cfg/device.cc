#include "vmm/devices/fw_cfg/device.h"

#include <algorithm>

namespace hull::fw_cfg {

namespace {

constexpr uint64_t kSelectorOffset = 0;
constexpr uint64_t kDataOffset = 1;
constexpr uint64_t kDmaOffset = 4;
constexpr size_t kDmaHalf = 4;

constexpr uint8_t kDone = 0;
constexpr uint8_t kFailed = 1;

// What reading the DMA register shows, by which a driver finds it.
constexpr std::array<uint8_t, 8> kDmaSignature = {'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G'};

}  // namespace

void Device::Read(uint64_t offset, std::span<uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    const uint64_t at = offset + i;
    if (at == kDataOffset && data.size() == 1) {
      data[i] = reader_.ReadByte();
    } else if (at >= kDmaOffset) {
      data[i] = kDmaSignature[at - kDmaOffset];
    } else {
      data[i] = 0;
    }
  }
}

void Device::Write(uint64_t offset, std::span<const uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  if (offset == kSelectorOffset && data.size() == 2) {
    reader_.Select(static_cast<uint16_t>(data[0] | data[1] << 8));
    return;
  }
  if (offset < kDmaOffset) return;
  const uint64_t at = offset - kDmaOffset;
  std::copy(data.begin(), data.end(), dma_address_.begin() + static_cast<ptrdiff_t>(at));
  // A 32-bit driver leaves the upper half as it was after the last request: zero.
  if (at + data.size() < dma_address_.size() || data.size() < kDmaHalf) return;
  uint64_t address = 0;
  for (const uint8_t byte : dma_address_) address = address << 8 | byte;
  dma_address_ = {};
  CarryOut(GuestAddress{address});
}

void Device::CarryOut(GuestAddress address) {
  std::array<uint8_t, kRequestSize> bytes;
  if (!memory_.Read(address, bytes).ok()) return;  // There is nowhere to report to either.
  const Request request = ParseRequest(bytes);
  if (request.select.has_value()) reader_.Select(*request.select);
  bool ok = true;
  switch (request.action) {
    case Request::Action::kNothing:
      break;
    case Request::Action::kSkip:
      reader_.Take(request.size);
      break;
    case Request::Action::kRead:
      ok = CopyOut(request);
      break;
    case Request::Action::kError:
      ok = false;
      break;
  }
  // It was read a moment ago, so it can be written.
  (void)memory_.Write(address, std::array<uint8_t, 4>{0, 0, 0, ok ? kDone : kFailed});
}

bool Device::CopyOut(const Request& request) {
  const GuestAddress to{request.address};
  if (!memory_.Contains(to, request.size)) return false;
  const std::span<const uint8_t> content = reader_.Take(request.size);
  const uint64_t rest = request.size - content.size();
  return memory_.Write(to, content).ok() &&
         (rest == 0 || memory_.Fill(GuestAddress{request.address + content.size()}, 0, rest).ok());
}

}  // namespace hull::fw_cfg
