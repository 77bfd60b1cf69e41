// A hostile guest against the floppy disk controller: whatever it is told, an access stays on the
// diskette, and a transfer ends.

#include <glog/logging.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "vmm/devices/floppy/device.h"

namespace {

using hull::floppy::kSectorSize;

class Checker : public hull::floppy::Backend {
 public:
  explicit Checker(uint64_t size) : size_(size) {}
  uint64_t size() const override { return size_; }
  bool read_only() const override { return false; }
  absl::Status Read(uint64_t offset, std::span<uint8_t> to) override {
    std::fill(to.begin(), to.end(), uint8_t{1});
    Check(offset, to.size());
    return absl::OkStatus();
  }
  absl::Status Write(uint64_t offset, std::span<const uint8_t> from) override {
    Check(offset, from.size());
    return absl::OkStatus();
  }

 private:
  void Check(uint64_t offset, size_t size) {
    CHECK_EQ(size, kSectorSize);
    CHECK_EQ(offset % kSectorSize, 0u);
    CHECK_LE(offset + size, size_);
  }
  const uint64_t size_;
};

// Ends a transfer after some bytes, or stops answering.
class Channel : public hull::DmaChannel {
 public:
  explicit Channel(size_t count) : count_(count) {}
  Moved ToMemory(std::span<const uint8_t> data) override { return Move(data.size()); }
  Moved FromMemory(std::span<uint8_t> data) override { return Move(data.size()); }

 private:
  Moved Move(size_t size) {
    const size_t moved = std::min(size, count_);
    count_ -= moved;
    return {moved, moved > 0 && count_ == 0};
  }
  size_t count_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace floppy = hull::floppy;
  constexpr uint64_t kSizes[] = {160 << 10, 360 << 10, 1440 << 10, 2880 << 10};
  if (size == 0) return 0;
  Checker diskette(kSizes[data[0] % 4]);
  floppy::Controller controller(
      {floppy::Medium{*floppy::GeometryOf(diskette.size()), (data[0] & 4) != 0}, std::nullopt});
  // Two bytes a step: an access and a value.
  for (size_t i = 1; i + 2 <= size; i += 2) {
    if ((data[i] & 0x80) != 0) {
      controller.Read(data[i] & 7);
      continue;
    }
    controller.Write(data[i] & 7, data[i + 1]);
    controller.TakeInterrupt();
    const auto transfer = controller.TakeTransfer();
    if (!transfer.has_value()) continue;
    CHECK_EQ(transfer->drive, 0);
    Channel channel(size_t{data[i]} << 7);
    absl::Status storage;
    const floppy::Outcome outcome = floppy::CarryOut(*transfer, diskette, channel, storage);
    // Now and then the guest resets the controller meanwhile.
    if ((data[i] & 0x40) != 0) controller.Write(2, data[i + 1]);
    controller.Finish(transfer->id, outcome);
  }
  return 0;
}
