// A 16550A UART.

#ifndef VMM_DEVICES_SERIAL_UART_H_
#define VMM_DEVICES_SERIAL_UART_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "vmm/bus/bus_device.h"
#include "vmm/bus/interrupt.h"

namespace hull::serial {

// The transmitter is always empty: a byte is handed on at once and takes no time, so line speed and
// format are stored and ignored. Modem lines are all raised, as by a null-modem cable.
//
// Registers are used on vCPU threads, Receive() on the event loop's; thread-safe. The two
// callbacks run under the UART's lock, on the thread of the access, and must not block.
class Uart : public BusDevice {
 public:
  struct Callbacks {
    // A byte was transmitted.
    std::function<void(uint8_t byte)> transmit;
    // The receive FIFO has room again, after Receive() could not take all it was given.
    std::function<void()> receive_room;
  };

  Uart(std::shared_ptr<Interrupt> interrupt, Callbacks callbacks)
      : interrupt_(std::move(interrupt)), callbacks_(std::move(callbacks)) {}

  absl::string_view name() const override { return "serial"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

  // Gives the guest input; returns how many bytes there was room for.
  size_t Receive(std::span<const uint8_t> data);

 private:
  static constexpr size_t kFifoSize = 64;

  uint8_t ReadRegister(uint8_t offset) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteRegister(uint8_t offset, uint8_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint8_t TakeReceived() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool PutReceived(uint8_t byte) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The highest-priority interrupt that is pending, as IIR shows it.
  uint8_t PendingInterrupt() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The line is edge-triggered: to be called after each event that may have made one pending.
  void UpdateInterrupt() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint8_t ModemStatus() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<Interrupt> interrupt_;
  const Callbacks callbacks_;

  absl::Mutex mutex_;
  std::array<uint8_t, kFifoSize> fifo_ ABSL_GUARDED_BY(mutex_) = {};
  size_t fifo_head_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t fifo_used_ ABSL_GUARDED_BY(mutex_) = 0;
  bool wants_room_ ABSL_GUARDED_BY(mutex_) = false;  // Receive() turned bytes away.
  bool transmitter_interrupt_ ABSL_GUARDED_BY(mutex_) = false;
  bool fifo_enabled_ ABSL_GUARDED_BY(mutex_) = false;
  uint8_t interrupt_enable_ ABSL_GUARDED_BY(mutex_) = 0;
  uint8_t line_control_ ABSL_GUARDED_BY(mutex_) = 0x03;  // 8 bits, no parity.
  uint8_t modem_control_ ABSL_GUARDED_BY(mutex_) = kInitialModemControl;
  uint8_t scratch_ ABSL_GUARDED_BY(mutex_) = 0;
  std::array<uint8_t, 2> divisor_ ABSL_GUARDED_BY(mutex_) = {12, 0};  // 9600 baud.

  static constexpr uint8_t kInitialModemControl = 0x08;  // OUT2: interrupts reach the line.
};

}  // namespace hull::serial

#endif  // VMM_DEVICES_SERIAL_UART_H_
