#include "vmm/bus/bus.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "vmm/base/checked.h"

namespace hull {

absl::Status Bus::Insert(uint64_t base, uint64_t size, std::shared_ptr<BusDevice> device) {
  if (size == 0 || !CheckedAdd(base, size - 1).has_value()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("device \"%s\": the range of %u bytes at 0x%x is empty or wraps",
                        device->name(), size, base));
  }
  const auto next = std::lower_bound(entries_.begin(), entries_.end(), base,
                                     [](const Entry& entry, uint64_t b) { return entry.base < b; });
  const uint64_t last = base + (size - 1);
  const Entry* clash = nullptr;
  if (next != entries_.end() && next->base <= last) clash = &*next;
  if (next != entries_.begin()) {
    const Entry& previous = *std::prev(next);
    if (previous.base + (previous.size - 1) >= base) clash = &previous;
  }
  if (clash != nullptr) {
    return absl::AlreadyExistsError(
        absl::StrFormat("device \"%s\" at 0x%x overlaps device \"%s\" at 0x%x", device->name(),
                        base, clash->device->name(), clash->base));
  }
  entries_.insert(next, Entry{base, size, std::move(device)});
  return absl::OkStatus();
}

const Bus::Entry* Bus::Find(uint64_t address, uint64_t size) const {
  const auto after =
      std::upper_bound(entries_.begin(), entries_.end(), address,
                       [](uint64_t a, const Entry& entry) { return a < entry.base; });
  if (after == entries_.begin()) return nullptr;
  const Entry& entry = *std::prev(after);
  return RangeFits(address - entry.base, size, entry.size) ? &entry : nullptr;
}

bool Bus::Read(uint64_t address, std::span<uint8_t> data) const {
  const Entry* const entry = data.empty() ? nullptr : Find(address, data.size());
  if (entry == nullptr) {
    std::fill(data.begin(), data.end(), 0xff);
    return false;
  }
  entry->device->Read(address - entry->base, data);
  return true;
}

bool Bus::Write(uint64_t address, std::span<const uint8_t> data) const {
  const Entry* const entry = data.empty() ? nullptr : Find(address, data.size());
  if (entry == nullptr) return false;
  entry->device->Write(address - entry->base, data);
  return true;
}

}  // namespace hull
