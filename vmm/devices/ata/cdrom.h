// A CD-ROM drive's commands: ATAPI.
//
// ATA/ATAPI-6, section 9.8 (the PACKET protocol); MMC-3 and SPC-2 (T10) for the packets.

#ifndef VMM_DEVICES_ATA_CDROM_H_
#define VMM_DEVICES_ATA_CDROM_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmm/devices/ata/drive.h"

namespace hull::ata {

class Cdrom : public Drive {
 public:
  // `sectors` of kCdSectorSize bytes: one track of data.
  Cdrom(uint32_t sectors, std::string serial);

 protected:
  void Execute(uint8_t command) override;
  void OnBlockRead() override;
  void OnBlockWritten(std::vector<uint8_t> packet) override;
  void OnFinished(Outcome outcome) override;
  void OnReset() override;
  uint8_t IdleStatus() const override;

 private:
  // What REQUEST SENSE says of the last command that failed.
  struct Sense {
    uint8_t key = 0;
    uint8_t code = 0;       // The additional sense code,
    uint8_t qualifier = 0;  // and its qualifier.
  };

  void Identify();
  void StartPacket();
  void ExecutePacket(std::span<const uint8_t, kPacketSize> packet);
  void Done();
  void Check(const Sense& sense);
  // At most `allocated` bytes of it.
  void Reply(std::vector<uint8_t> data, uint32_t allocated);
  // The next block of what there is to read.
  void Offer();
  void ReadSectors(uint32_t first, uint32_t count);
  void ReadOn();
  void StartStop(uint8_t operation);
  void ReadToc(std::span<const uint8_t, kPacketSize> packet);
  void ModeSense(std::span<const uint8_t, kPacketSize> packet);
  void RequestSense(uint32_t allocated);
  void Inquiry(uint32_t allocated);

  const uint32_t sectors_;
  const std::string serial_;

  bool loaded_ = true;  // The disc is not taken out, but the tray can be open.
  bool locked_ = false;
  bool changed_ = false;  // Loaded anew, which the next command is to be told.
  Sense sense_;

  // The command that goes on.
  size_t block_limit_ = 0;  // At most so many bytes of a block.
  std::vector<uint8_t> data_;
  size_t offered_ = 0;  // Of them.
  uint32_t next_ = 0;   // The sector that is next for the storage.
  uint32_t left_ = 0;   // How many are, from there on.
  bool then_fail_ = false;
};

}  // namespace hull::ata

#endif  // VMM_DEVICES_ATA_CDROM_H_
