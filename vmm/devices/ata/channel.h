// The registers of an ATA channel and its two drives.

#ifndef VMM_DEVICES_ATA_CHANNEL_H_
#define VMM_DEVICES_ATA_CHANNEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "vmm/devices/ata/drive.h"

namespace hull::ata {

inline constexpr size_t kDrives = 2;

// Pure register logic. Not thread-safe.
class Channel {
 public:
  using Drives = std::array<std::unique_ptr<Drive>, kDrives>;

  // A place may be empty (null).
  explicit Channel(Drives drives) : drives_(std::move(drives)) {}

  // The registers kError to kStatus; others read as 0xff and ignore writes.
  uint8_t Read(uint64_t offset);
  void Write(uint64_t offset, uint8_t value);
  // The data register: as many bytes as the access has.
  void ReadData(std::span<uint8_t> data);
  void WriteData(std::span<const uint8_t> data);
  // The other block: the status once more, without clearing the interrupt, and device control.
  uint8_t ReadAlternateStatus() const;
  void WriteControl(uint8_t value);

  // Whether the interrupt line went up since this was last asked.
  bool TakeInterrupt() { return std::exchange(raised_, false); }

  struct DriveJob {
    size_t drive = 0;  // Below kDrives.
    Job job;
  };
  // A job that the last access asks for, or Finish.
  std::optional<DriveJob> TakeJob();
  void Finish(size_t drive, uint32_t id, Outcome outcome);

 private:
  Drive* selected() const { return drives_[second_ ? 1 : 0].get(); }
  void Command(uint8_t command);
  void ResetDrives();
  void UpdateLine();

  const Drives drives_;
  bool second_ = false;  // Which drive is selected.
  uint8_t control_ = 0;
  bool line_ = false;
  bool raised_ = false;
};

}  // namespace hull::ata

#endif  // VMM_DEVICES_ATA_CHANNEL_H_
