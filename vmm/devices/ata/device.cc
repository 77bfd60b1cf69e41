#include "vmm/devices/ata/device.h"

#include <glog/logging.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "vmm/base/status_macros.h"
#include "vmm/devices/ata/cdrom.h"
#include "vmm/devices/ata/disk.h"

namespace hull::ata {

namespace {

// What of a read lies behind the medium's end, which a disc's last sector may, is zeroes.
absl::Status ReadWithin(Backend& backend, uint64_t offset, std::span<uint8_t> to) {
  const uint64_t there = backend.size() > offset ? backend.size() - offset : 0;
  const size_t size = static_cast<size_t>(std::min<uint64_t>(there, to.size()));
  std::fill(to.begin() + static_cast<ptrdiff_t>(size), to.end(), uint8_t{0});
  return size == 0 ? absl::OkStatus() : backend.Read(offset, to.first(size));
}

Outcome ReadSectors(const Job& job, Backend& backend, absl::Status& storage) {
  Outcome outcome;
  outcome.data.resize(job.size);
  if (ReadWithin(backend, job.offset, outcome.data).ok()) return outcome;
  // One of the sectors: those before it are good.
  outcome.ok = false;
  for (size_t at = 0; at < job.size; at += kSectorSize) {
    storage =
        ReadWithin(backend, job.offset + at, std::span(outcome.data).subspan(at, kSectorSize));
    if (storage.ok()) continue;
    outcome.data.resize(at);
    return outcome;
  }
  // This time it went well.
  outcome.ok = true;
  return outcome;
}

absl::StatusOr<std::unique_ptr<Drive>> CreateDrive(Unit& unit, std::optional<Layout>& layout) {
  const uint64_t size = unit.backend->size();
  if (unit.cdrom) {
    const uint64_t sectors = (size + kCdSectorSize - 1) / kCdSectorSize;
    if (sectors > std::numeric_limits<uint32_t>::max()) {
      return absl::InvalidArgumentError(absl::StrCat("no disc has ", size, " bytes"));
    }
    return std::make_unique<Cdrom>(static_cast<uint32_t>(sectors), unit.serial);
  }
  if (size > kMaxDiskSize) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a disk of ", size, " bytes is larger than the 2 TiB that a BIOS can address"));
  }
  std::array<uint8_t, kSectorSize> first;
  HULL_RETURN_IF_ERROR(unit.backend->Read(0, first));
  layout = LayoutOf(size / kSectorSize, first);
  return std::make_unique<Disk>(size / kSectorSize, unit.backend->read_only(), layout->geometry,
                                unit.serial);
}

}  // namespace

Outcome CarryOut(const Job& job, Backend& backend, absl::Status& storage) {
  switch (job.kind) {
    case Job::Kind::kRead:
      return ReadSectors(job, backend, storage);
    case Job::Kind::kWrite:
      storage = backend.Write(job.offset, job.data);
      if (storage.ok() && job.then_flush) storage = backend.Flush();
      break;
    case Job::Kind::kFlush:
      storage = backend.Flush();
      break;
  }
  return {.ok = storage.ok(), .data = {}};
}

absl::StatusOr<std::shared_ptr<Device>> Device::Create(Units units,
                                                       std::shared_ptr<Interrupt> interrupt,
                                                       std::function<void()> on_start) {
  Channel::Drives drives;
  std::array<std::optional<Layout>, kDrives> layouts;
  for (size_t i = 0; i < kDrives; ++i) {
    if (!units[i].has_value()) continue;
    HULL_ASSIGN_OR_RETURN(drives[i], CreateDrive(*units[i], layouts[i]));
  }
  std::shared_ptr<Device> device(
      new Device(std::move(units), std::move(drives), layouts, std::move(interrupt)));
  HULL_ASSIGN_OR_RETURN(device->worker_,
                        WorkerThread::Start("ata", [self = device.get(), on_start](const EventFd&) {
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

bool Device::Settle() {
  if (std::optional<Channel::DriveJob> job = channel_.TakeJob()) {
    pending_[job->drive] = std::move(job->job);
  }
  return channel_.TakeInterrupt();
}

void Device::Read(uint64_t offset, std::span<uint8_t> data) {
  bool interrupt;
  {
    absl::MutexLock lock(&mutex_);
    if (offset == kData) {
      channel_.ReadData(data);
    } else {
      for (size_t i = 0; i < data.size(); ++i) data[i] = channel_.Read(offset + i);
    }
    interrupt = Settle();
  }
  if (interrupt) interrupt_->Raise();
}

void Device::Write(uint64_t offset, std::span<const uint8_t> data) {
  bool interrupt;
  {
    absl::MutexLock lock(&mutex_);
    if (offset == kData) {
      channel_.WriteData(data);
    } else {
      for (size_t i = 0; i < data.size(); ++i) channel_.Write(offset + i, data[i]);
    }
    interrupt = Settle();
  }
  if (interrupt) interrupt_->Raise();
}

uint8_t Device::ReadAlternateStatus() const {
  absl::MutexLock lock(&mutex_);
  return channel_.ReadAlternateStatus();
}

void Device::WriteControl(uint8_t value) {
  bool interrupt;
  {
    absl::MutexLock lock(&mutex_);
    channel_.WriteControl(value);
    interrupt = Settle();
  }
  if (interrupt) interrupt_->Raise();
}

void Device::Work() {
  while (true) {
    size_t drive;
    Job job;
    {
      absl::MutexLock lock(&mutex_);
      auto ready = [this] {
        mutex_.AssertReaderHeld();
        return stopping_ || pending_[0].has_value() || pending_[1].has_value();
      };
      mutex_.Await(absl::Condition(&ready));
      if (stopping_) return;
      drive = pending_[0].has_value() ? 0 : 1;
      job = *std::move(pending_[drive]);
      pending_[drive].reset();
    }
    absl::Status storage;
    Outcome outcome = CarryOut(job, *units_[drive]->backend, storage);
    if (!storage.ok() && throttle_.Allow()) {
      LOG(WARNING) << "ATA drive " << units_[drive]->serial << ": " << storage.message();
    }
    bool interrupt;
    {
      absl::MutexLock lock(&mutex_);
      channel_.Finish(drive, job.id, std::move(outcome));
      interrupt = Settle();
    }
    if (interrupt) interrupt_->Raise();
  }
}

}  // namespace hull::ata
