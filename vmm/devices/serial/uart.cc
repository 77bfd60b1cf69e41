#include "vmm/devices/serial/uart.h"

#include "vmm/devices/serial/wire.h"

namespace hull::serial {

void Uart::Read(uint64_t offset, std::span<uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  // An ISA bus splits a wide access into bytes at consecutive ports.
  for (size_t i = 0; i < data.size(); ++i) {
    data[i] = ReadRegister(static_cast<uint8_t>(offset + i));
  }
}

void Uart::Write(uint64_t offset, std::span<const uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    WriteRegister(static_cast<uint8_t>(offset + i), data[i]);
  }
}

size_t Uart::Receive(std::span<const uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  // In loopback the receiver is disconnected from the line: what arrives meanwhile is lost.
  if ((modem_control_ & kMcrLoop) != 0) return data.size();
  size_t taken = 0;
  while (taken < data.size() && PutReceived(data[taken])) ++taken;
  wants_room_ = taken < data.size();
  if (taken > 0) UpdateInterrupt();
  return taken;
}

uint8_t Uart::ReadRegister(uint8_t offset) {
  const bool latch = (line_control_ & kLcrDivisorLatch) != 0;
  switch (offset) {
    case kData:
      return latch ? divisor_[0] : TakeReceived();
    case kInterruptEnable:
      return latch ? divisor_[1] : interrupt_enable_;
    case kInterruptIdentity: {
      const uint8_t pending = PendingInterrupt();
      // Reading it acknowledges this one.
      if (pending == kIirTransmitterEmpty) transmitter_interrupt_ = false;
      return pending | (fifo_enabled_ ? kIirFifoEnabled : 0);
    }
    case kLineControl:
      return line_control_;
    case kModemControl:
      return modem_control_;
    case kLineStatus:
      return kLsrTransmitterEmpty | (fifo_used_ > 0 ? kLsrDataReady : 0);
    case kModemStatus:
      return ModemStatus();
    case kScratch:
      return scratch_;
    default:
      return 0;
  }
}

void Uart::WriteRegister(uint8_t offset, uint8_t value) {
  const bool latch = (line_control_ & kLcrDivisorLatch) != 0;
  switch (offset) {
    case kData:
      if (latch) {
        divisor_[0] = value;
        return;
      }
      if ((modem_control_ & kMcrLoop) != 0) {
        PutReceived(value);
      } else {
        callbacks_.transmit(value);
      }
      transmitter_interrupt_ = true;
      UpdateInterrupt();
      return;
    case kInterruptEnable: {
      if (latch) {
        divisor_[1] = value;
        return;
      }
      const uint8_t enabled = value & kIerMask & ~interrupt_enable_;
      interrupt_enable_ = value & kIerMask;
      // The transmitter is empty, so enabling this interrupt raises it.
      if ((enabled & kIerTransmitterEmpty) != 0) transmitter_interrupt_ = true;
      UpdateInterrupt();
      return;
    }
    case kFifoControl:
      fifo_enabled_ = (value & kFcrEnable) != 0;
      if ((value & kFcrClearReceive) != 0) {
        while (fifo_used_ > 0) TakeReceived();
      }
      return;
    case kLineControl:
      line_control_ = value;
      return;
    case kModemControl:
      modem_control_ = value;
      return;
    case kScratch:
      scratch_ = value;
      return;
    default:
      return;  // The status registers are read-only.
  }
}

uint8_t Uart::TakeReceived() {
  if (fifo_used_ == 0) return 0;
  const uint8_t byte = fifo_[fifo_head_];
  fifo_head_ = (fifo_head_ + 1) % kFifoSize;
  --fifo_used_;
  // Once it is empty, so that the other side is woken once and not for each byte.
  if (fifo_used_ == 0 && wants_room_) {
    wants_room_ = false;
    callbacks_.receive_room();
  }
  return byte;
}

bool Uart::PutReceived(uint8_t byte) {
  if (fifo_used_ == kFifoSize) return false;
  fifo_[(fifo_head_ + fifo_used_) % kFifoSize] = byte;
  ++fifo_used_;
  return true;
}

uint8_t Uart::PendingInterrupt() const {
  if ((interrupt_enable_ & kIerReceived) != 0 && fifo_used_ > 0) return kIirReceived;
  if ((interrupt_enable_ & kIerTransmitterEmpty) != 0 && transmitter_interrupt_) {
    return kIirTransmitterEmpty;
  }
  return kIirNone;
}

void Uart::UpdateInterrupt() {
  if (PendingInterrupt() != kIirNone) interrupt_->Raise();
}

uint8_t Uart::ModemStatus() const {
  if ((modem_control_ & kMcrLoop) == 0) return kMsrClearToSend | kMsrDataSetReady | kMsrCarrier;
  // In loopback the four outputs are wired to the four inputs.
  uint8_t status = 0;
  if ((modem_control_ & kMcrRequestToSend) != 0) status |= kMsrClearToSend;
  if ((modem_control_ & kMcrDataTerminalReady) != 0) status |= kMsrDataSetReady;
  if ((modem_control_ & kMcrOut1) != 0) status |= kMsrRing;
  if ((modem_control_ & kMcrOut2) != 0) status |= kMsrCarrier;
  return status;
}

}  // namespace hull::serial
