// What a hard disk and a CD-ROM drive have in common: the command block registers, and data that
// goes through the data register block by block.

#ifndef VMM_DEVICES_ATA_DRIVE_H_
#define VMM_DEVICES_ATA_DRIVE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/devices/ata/wire.h"

namespace hull::ata {

// A register that keeps the value before the last one as well (48-bit commands).
struct TwoDeep {
  uint8_t now = 0;
  uint8_t before = 0;
};

struct Registers {
  TwoDeep features;
  TwoDeep count;
  TwoDeep lba_low;
  TwoDeep lba_mid;
  TwoDeep lba_high;
  uint8_t device = 0;
};

// What a drive needs of its storage, for the caller to carry out and then report on. Bytes, in
// whole sectors, within the medium.
struct Job {
  enum class Kind { kRead, kWrite, kFlush };
  Kind kind = Kind::kRead;
  uint64_t offset = 0;
  size_t size = 0;            // kRead: at most kMaxJobSize.
  std::vector<uint8_t> data;  // kWrite: what is to be written.
  bool then_flush = false;    // kWrite.
  uint32_t id = 0;            // For Finish.
};

inline constexpr size_t kMaxJobSize = size_t{64} << 10;

struct Outcome {
  bool ok = true;
  std::vector<uint8_t> data;  // kRead: whole sectors, those before the first that failed.
};

// Pure register logic; not thread-safe. At any time it is idle, has a job with its storage (busy),
// or wants data moved through the data register.
class Drive {
 public:
  Drive() = default;
  Drive(const Drive&) = delete;
  Drive& operator=(const Drive&) = delete;
  virtual ~Drive() = default;

  // The registers kError to kDevice; writes go to both drives of a channel, and are ignored while
  // this one has something to do.
  uint8_t Read(uint64_t offset, bool high_order) const;
  void Write(uint64_t offset, uint8_t value);
  uint8_t status() const { return status_; }
  void Command(uint8_t command);
  // Any number of bytes, of which what is beyond the block is ignored, or read as 0xff.
  void ReadData(std::span<uint8_t> data);
  void WriteData(std::span<const uint8_t> data);

  // A software reset or EXECUTE DEVICE DIAGNOSTIC: drops what was going on, and selects the first
  // drive.
  void Reset();

  // Whether the drive asks for an interrupt, until its status is read or a command written.
  bool interrupt() const { return interrupt_; }
  void ClearInterrupt() { interrupt_ = false; }
  void RequestInterrupt() { interrupt_ = true; }

  // A job that the last access asks for.
  std::optional<Job> TakeJob();
  // Ends the job `id`; nothing happens if the guest reset the drive meanwhile.
  void Finish(uint32_t id, Outcome outcome);

 protected:
  // The parts of a drive that differ.
  virtual void Execute(uint8_t command) = 0;
  // A block was read, or filled, by the guest.
  virtual void OnBlockRead() = 0;
  virtual void OnBlockWritten(std::vector<uint8_t> block) = 0;
  virtual void OnFinished(Outcome outcome) = 0;
  virtual void OnReset() = 0;
  // Of an idle drive without an error.
  virtual uint8_t IdleStatus() const = 0;

  // Each of these ends with an interrupt, unless it says otherwise.
  void Succeed();
  void SucceedQuietly();
  void Fail(uint8_t error);
  // The next `size` bytes, from 1 on, are for the guest to read.
  void OfferBlock(std::span<const uint8_t> block);
  // The next `size` bytes are for the guest to write. No interrupt.
  void AwaitBlock(size_t size);
  // Busy until Finish. No interrupt.
  void Start(Job job);
  // The registers by which a drive shows after a reset what it is.
  void ShowSignature(uint8_t mid, uint8_t high);
  void SetStatus(uint8_t status) { status_ = status; }

  Registers& registers() { return registers_; }
  const Registers& registers() const { return registers_; }

 private:
  enum class Phase { kIdle, kBusy, kToGuest, kFromGuest };

  Registers registers_;
  uint8_t status_ = 0;
  uint8_t error_ = 0;
  bool interrupt_ = false;
  Phase phase_ = Phase::kIdle;
  std::vector<uint8_t> block_;
  size_t moved_ = 0;
  std::optional<Job> job_;
  uint32_t job_id_ = 0;
};

// Puts text into the words from `word` on of what IDENTIFY gives, as the standard has it: padded
// with blanks, the first character of two in the high byte.
void PutText(std::span<uint8_t, kIdentifySize> identify, size_t word, size_t words,
             const std::string& text);
void PutWord(std::span<uint8_t, kIdentifySize> identify, size_t word, uint32_t value);

}  // namespace hull::ata

#endif  // VMM_DEVICES_ATA_DRIVE_H_
