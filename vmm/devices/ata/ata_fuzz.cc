// A hostile guest against a channel with a disk and a CD-ROM: whatever it is told, an access stays
// on the medium, a job is bounded, and no drive has two.

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "vmm/devices/ata/cdrom.h"
#include "vmm/devices/ata/channel.h"
#include "vmm/devices/ata/device.h"
#include "vmm/devices/ata/disk.h"

namespace {

namespace ata = hull::ata;

constexpr uint32_t kCdSectors = 50;

class Checker : public ata::Backend {
 public:
  Checker(uint64_t size, bool read_only) : size_(size), read_only_(read_only) {}
  uint64_t size() const override { return size_; }
  bool read_only() const override { return read_only_; }
  absl::Status Read(uint64_t offset, std::span<uint8_t> to) override {
    Check(offset, to.size());
    CHECK_LE(to.size(), ata::kMaxJobSize);
    std::fill(to.begin(), to.end(), uint8_t{1});
    return offset % 7168 == 0 ? absl::DataLossError("broken") : absl::OkStatus();
  }
  absl::Status Write(uint64_t offset, std::span<const uint8_t> from) override {
    CHECK(!read_only_);
    Check(offset, from.size());
    return offset % 7168 == 0 ? absl::DataLossError("broken") : absl::OkStatus();
  }
  absl::Status Flush() override {
    CHECK(!read_only_);
    return absl::OkStatus();
  }

 private:
  void Check(uint64_t offset, size_t size) {
    CHECK_GT(size, 0u);
    CHECK_EQ(size % ata::kSectorSize, 0u);
    CHECK_EQ(offset % ata::kSectorSize, 0u);
    CHECK_LE(offset, size_);
    CHECK_LE(size, size_ - offset);
  }
  const uint64_t size_;
  const bool read_only_;
};

}  // namespace

// Steps of two bytes, what to do and a value:
//   0x00 to 0x07  write the register (0: 512 bytes of the value to the data register)
//   0x08          write the device control register
//   0x10 to 0x17  read the register (0: 512 bytes of data), 0x18: the alternate status
//   0x20          carry out the jobs that wait, 0x30: forget one
//   0x40 …        the next twelve bytes to the data register, as a packet
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr uint64_t kSizes[] = {1, 1000, 1u << 21, uint64_t{1} << 32};
  if (size == 0) return 0;
  const uint64_t sectors = kSizes[data[0] % 4];
  const bool read_only = (data[0] & 4) != 0;
  Checker disk(sectors * ata::kSectorSize, read_only);
  Checker disc(uint64_t{kCdSectors} * ata::kCdSectorSize, true);
  const ata::Layout layout = ata::LayoutOf(sectors, std::array<uint8_t, ata::kSectorSize>{});
  ata::Channel::Drives drives = {
      std::make_unique<ata::Disk>(sectors, read_only, layout.geometry, "D"),
      std::make_unique<ata::Cdrom>(kCdSectors, "C")};
  ata::Channel channel(std::move(drives));
  std::array<std::optional<ata::Job>, ata::kDrives> jobs;
  std::array<uint8_t, 512> buffer;
  for (size_t i = 1; i + 2 <= size; i += 2) {
    const uint8_t action = data[i];
    const uint8_t value = data[i + 1];
    if ((action & 0x40) != 0) {
      const size_t count = std::min(ata::kPacketSize, size - i - 2);
      channel.WriteData(std::span(data + i + 2, count));
      i += count;
    } else if (action == 0x00) {
      buffer.fill(value);
      channel.WriteData(buffer);
    } else if (action <= 0x07) {
      channel.Write(action, value);
    } else if (action == 0x08) {
      channel.WriteControl(value);
    } else if (action == 0x10) {
      channel.ReadData(buffer);
    } else if (action <= 0x17) {
      channel.Read(action & 7);
    } else if (action == 0x18) {
      channel.ReadAlternateStatus();
    } else if (action == 0x30) {
      jobs[value % ata::kDrives].reset();
    } else if (action == 0x20) {
      for (size_t drive = 0; drive < ata::kDrives; ++drive) {
        if (!jobs[drive].has_value()) continue;
        const ata::Job job = *std::exchange(jobs[drive], std::nullopt);
        absl::Status storage;
        channel.Finish(drive, job.id, ata::CarryOut(job, drive == 0 ? disk : disc, storage));
      }
    }
    while (std::optional<ata::Channel::DriveJob> job = channel.TakeJob()) {
      jobs[job->drive] = std::move(job->job);
    }
    channel.TakeInterrupt();
  }
  return 0;
}
