// The registers and commands of a floppy disk controller.
//
// Intel 82078 data sheet, "Programming Guidelines" and "Command Set/Descriptions", as far as a PC's
// firmware and DOS use it: data moves by DMA only, seeks and the motor take no time.

#ifndef VMM_DEVICES_FLOPPY_CONTROLLER_H_
#define VMM_DEVICES_FLOPPY_CONTROLLER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "vmm/devices/floppy/geometry.h"

namespace hull::floppy {

inline constexpr size_t kDrives = 2;

// What is in a drive.
struct Medium {
  Geometry geometry;
  bool read_only = false;
};

// The part of a command that moves data, which the caller is to carry out and then report on.
struct Transfer {
  enum class Kind { kRead, kWrite, kFormat };
  Kind kind = Kind::kRead;
  uint8_t drive = 0;  // One with a medium.
  Geometry geometry;
  // Where to begin: a sector that the medium has.
  uint8_t cylinder = 0;
  uint8_t head = 0;
  uint8_t sector = 1;
  uint8_t last_sector = 0;  // Of the track: the transfer ends behind it, or goes on at head 1.
  bool both_heads = false;
  uint8_t fill = 0;  // kFormat: what the sectors are filled with.
  uint32_t id = 0;   // For Finish.
};

// How far it came.
struct Outcome {
  enum class Error { kNone, kUnreadable, kOverrun, kEndOfTrack, kNoSector };
  Error error = Error::kNone;
  // The sector behind the last one that was transferred, or the one that failed.
  uint8_t cylinder = 0;
  uint8_t head = 0;
  uint8_t sector = 0;
};

// Pure register logic. Not thread-safe.
class Controller {
 public:
  explicit Controller(const std::array<std::optional<Medium>, kDrives>& media) : media_(media) {}

  // Offsets from port 0x3f0: 0 to 5 and 7. Others read as 0xff and ignore writes.
  uint8_t Read(uint64_t offset);
  void Write(uint64_t offset, uint8_t value);

  // Whether the interrupt line went up since this was last asked.
  bool TakeInterrupt();
  // Whether it is still up: the guest has neither read the result nor asked for the cause.
  bool InterruptPending() const { return line_up_; }
  // A transfer that the last write asks for.
  std::optional<Transfer> TakeTransfer();
  // Ends the transfer `id`; nothing happens if the guest reset the controller meanwhile.
  void Finish(uint32_t id, const Outcome& outcome);

 private:
  enum class Phase { kCommand, kExecution, kResult };

  bool Enabled() const;
  uint8_t MainStatus() const;
  uint8_t DigitalInput() const;
  uint8_t ReadResult();
  void Reset();
  void Interrupt();
  void CommandByte(uint8_t value);
  void Execute();
  void SenseInterrupt();
  void Seek(uint8_t drive, uint8_t cylinder);
  void ReadId();
  void StartTransfer(Transfer::Kind kind);
  void StartFormat();
  // Whether the drive of the command has a medium that reads at the data rate.
  bool Readable(uint8_t drive) const;
  void Result(std::initializer_list<uint8_t> bytes);
  void TransferResult(uint8_t st0, uint8_t st1, uint8_t st2, uint8_t cylinder, uint8_t head,
                      uint8_t sector);

  const std::array<std::optional<Medium>, kDrives> media_;
  std::array<uint8_t, 4> position_ = {};  // The cylinder of each drive's head.
  std::array<bool, kDrives> changed_ = {true, true};

  uint8_t digital_output_ = 0x0c;
  uint8_t rate_ = 2;
  Phase phase_ = Phase::kCommand;
  std::array<uint8_t, 9> command_ = {};
  size_t command_size_ = 0;
  std::array<uint8_t, 10> result_ = {};
  size_t result_size_ = 0;
  size_t result_read_ = 0;

  // What SENSE INTERRUPT STATUS is to report.
  std::optional<uint8_t> seek_status_;
  uint8_t reset_reports_ = 0;  // How many drives have yet to report the reset.

  bool interrupt_ = false;
  bool line_up_ = false;
  std::optional<Transfer> transfer_;
  uint32_t transfer_id_ = 0;
};

}  // namespace hull::floppy

#endif  // VMM_DEVICES_FLOPPY_CONTROLLER_H_
