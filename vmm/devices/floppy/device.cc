#include "vmm/devices/floppy/device.h"

#include <glog/logging.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "vmm/base/status_macros.h"

namespace hull::floppy {

namespace {

constexpr size_t kFormatEntrySize = 4;  // Cylinder, head, sector, size code.

using Sector = std::array<uint8_t, kSectorSize>;

uint64_t OffsetOf(const Geometry& geometry, const Outcome& at) {
  const uint64_t track = uint64_t{at.cylinder} * geometry.heads + at.head;
  return (track * geometry.sectors + (at.sector - 1u)) * kSectorSize;
}

DmaChannel::Moved ReadSector(Backend& backend, uint64_t offset, DmaChannel& channel,
                             absl::Status& storage) {
  Sector sector;
  storage = backend.Read(offset, sector);
  return storage.ok() ? channel.ToMemory(sector) : DmaChannel::Moved{};
}

DmaChannel::Moved WriteSector(Backend& backend, uint64_t offset, DmaChannel& channel,
                              absl::Status& storage) {
  Sector sector = {};  // What the driver does not fill is written as zeroes.
  const DmaChannel::Moved moved = channel.FromMemory(sector);
  if (moved.bytes > 0) storage = backend.Write(offset, sector);
  return moved;
}

DmaChannel::Moved FormatSector(Backend& backend, uint64_t offset, uint8_t fill, DmaChannel& channel,
                               absl::Status& storage) {
  std::array<uint8_t, kFormatEntrySize> entry;
  DmaChannel::Moved moved = channel.FromMemory(entry);
  if (moved.bytes < entry.size()) return {.bytes = 0, .terminal_count = moved.terminal_count};
  Sector sector;
  sector.fill(fill);
  storage = backend.Write(offset, sector);
  moved.bytes = kSectorSize;
  return moved;
}

}  // namespace

Outcome CarryOut(const Transfer& transfer, Backend& backend, DmaChannel& channel,
                 absl::Status& storage) {
  Outcome at = {.error = Outcome::Error::kNone,
                .cylinder = transfer.cylinder,
                .head = transfer.head,
                .sector = transfer.sector};
  while (true) {
    if (at.sector > transfer.geometry.sectors) {
      at.error = Outcome::Error::kNoSector;
      return at;
    }
    const uint64_t offset = OffsetOf(transfer.geometry, at);
    DmaChannel::Moved moved;
    switch (transfer.kind) {
      case Transfer::Kind::kRead:
        moved = ReadSector(backend, offset, channel, storage);
        break;
      case Transfer::Kind::kWrite:
        moved = WriteSector(backend, offset, channel, storage);
        break;
      case Transfer::Kind::kFormat:
        moved = FormatSector(backend, offset, transfer.fill, channel, storage);
        break;
    }
    if (!storage.ok()) {
      at.error = Outcome::Error::kUnreadable;
      return at;
    }
    if (moved.bytes < kSectorSize && !moved.terminal_count) {
      at.error = Outcome::Error::kOverrun;
      return at;
    }
    const bool track_ends = at.sector == transfer.last_sector;
    ++at.sector;
    if (track_ends) {
      at.sector = 1;
      if (transfer.both_heads && at.head == 0 && transfer.geometry.heads > 1) {
        at.head = 1;
      } else {
        ++at.cylinder;
        if (transfer.both_heads) at.head = 0;
        // Formatting ends with the track; a transfer of data ends when the DMA controller says so.
        if (!moved.terminal_count && transfer.kind != Transfer::Kind::kFormat) {
          at.error = Outcome::Error::kEndOfTrack;
        }
        return at;
      }
    }
    if (moved.terminal_count) return at;
  }
}

absl::StatusOr<std::shared_ptr<Device>> Device::Create(Drives drives,
                                                       std::unique_ptr<DmaChannel> channel,
                                                       std::shared_ptr<Interrupt> interrupt,
                                                       std::function<void()> on_start) {
  std::array<std::optional<Medium>, kDrives> media;
  for (size_t i = 0; i < drives.size(); ++i) {
    if (drives[i] == nullptr) continue;
    const std::optional<Geometry> geometry = GeometryOf(drives[i]->size());
    if (!geometry.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("no diskette has ", drives[i]->size(),
                       " bytes; there are 160, 180, 320, 360, 720, 1200, 1440 and 2880 KiB"));
    }
    media[i] = Medium{*geometry, drives[i]->read_only()};
  }
  std::shared_ptr<Device> device(
      new Device(std::move(drives), media, std::move(channel), std::move(interrupt)));
  HULL_ASSIGN_OR_RETURN(device->worker_, WorkerThread::Start("floppy", [self = device.get(),
                                                                        on_start](const EventFd&) {
                          if (on_start) on_start();
                          self->Work();
                        }));
  return device;
}

Device::~Device() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  worker_.reset();
}

uint8_t Device::DriveType(size_t drive) const {
  // Create found that it has one.
  return drives_[drive] != nullptr ? GeometryOf(drives_[drive]->size())->drive_type : uint8_t{0};
}

bool Device::InterruptPending() const {
  absl::MutexLock lock(&mutex_);
  return controller_.InterruptPending();
}

uint8_t Device::Read(uint64_t offset) {
  absl::MutexLock lock(&mutex_);
  return controller_.Read(offset);
}

void Device::Write(uint64_t offset, uint8_t value) {
  bool interrupt;
  {
    absl::MutexLock lock(&mutex_);
    controller_.Write(offset, value);
    if (std::optional<Transfer> transfer = controller_.TakeTransfer()) pending_ = transfer;
    interrupt = controller_.TakeInterrupt();
  }
  if (interrupt) interrupt_->Raise();
}

void Device::Work() {
  while (true) {
    Transfer transfer;
    {
      absl::MutexLock lock(&mutex_);
      auto ready = [this] {
        mutex_.AssertReaderHeld();
        return stopping_ || pending_.has_value();
      };
      mutex_.Await(absl::Condition(&ready));
      if (stopping_) return;
      transfer = *pending_;
      pending_.reset();
    }
    absl::Status storage;
    const Outcome outcome = CarryOut(transfer, *drives_[transfer.drive], *channel_, storage);
    if (!storage.ok() && throttle_.Allow()) {
      LOG(WARNING) << "diskette drive " << int{transfer.drive} << ": " << storage.message();
    }
    bool interrupt;
    {
      absl::MutexLock lock(&mutex_);
      controller_.Finish(transfer.id, outcome);
      interrupt = controller_.TakeInterrupt();
    }
    if (interrupt) interrupt_->Raise();
  }
}

void Ports::Read(uint64_t offset, std::span<uint8_t> data) {
  for (size_t i = 0; i < data.size(); ++i) data[i] = device_->Read(first_ + offset + i);
}

void Ports::Write(uint64_t offset, std::span<const uint8_t> data) {
  for (size_t i = 0; i < data.size(); ++i) device_->Write(first_ + offset + i, data[i]);
}

}  // namespace hull::floppy
