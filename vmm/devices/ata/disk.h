// A hard disk's commands.
//
// ATA/ATAPI-6 (T13/1410D), the general feature set with 28-bit, 48-bit and CHS addresses; data goes
// by PIO only.

#ifndef VMM_DEVICES_ATA_DISK_H_
#define VMM_DEVICES_ATA_DISK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/devices/ata/drive.h"
#include "vmm/devices/ata/geometry.h"

namespace hull::ata {

class Disk : public Drive {
 public:
  // `sectors` is at least one. What a guest writes to a read-only disk is refused ("aborted").
  Disk(uint64_t sectors, bool read_only, const Geometry& geometry, std::string serial);

 protected:
  void Execute(uint8_t command) override;
  void OnBlockRead() override;
  void OnBlockWritten(std::vector<uint8_t> block) override;
  void OnFinished(Outcome outcome) override;
  void OnReset() override;
  uint8_t IdleStatus() const override;

 private:
  enum class Kind { kRead, kWrite, kVerify };

  // Where and how much a command of sectors asks for; none if the disk has no such place.
  struct Range {
    uint64_t first = 0;
    uint32_t count = 0;
  };
  std::optional<Range> RangeOf(bool extended) const;
  std::optional<uint64_t> Address(bool extended) const;
  // The address registers, which say where a command came to.
  void ShowAddress(uint64_t sector);
  void StartTransfer(Kind kind, bool extended, uint32_t block_sectors);
  void ReadOn();
  void AwaitOn();
  void Identify();
  void SetFeatures();
  void SetMultiple();
  void InitializeParameters();
  void ShowNativeMax(bool extended);
  void OfferSectors();

  const uint64_t sectors_;
  const bool read_only_;
  const Geometry geometry_;
  const std::string serial_;

  Geometry current_;       // As INITIALIZE DEVICE PARAMETERS set it.
  uint32_t multiple_ = 0;  // Sectors of a block of READ MULTIPLE; 0: not set.
  bool write_through_ = false;

  // The transfer that goes on.
  Kind kind_ = Kind::kRead;
  bool extended_ = false;
  uint64_t next_ = 0;           // The sector that is next for the storage.
  uint32_t left_ = 0;           // How many are, from there on.
  uint32_t block_sectors_ = 1;  // Of a block.
  std::vector<uint8_t> ahead_;  // Read from the storage,
  size_t offered_ = 0;          // of which the guest was offered so much.
  bool then_fail_ = false;      // Behind that is a sector that cannot be read.
};

}  // namespace hull::ata

#endif  // VMM_DEVICES_ATA_DISK_H_
