// A serial port whose other end is a descriptor.

#ifndef VMM_DEVICES_SERIAL_CONSOLE_H_
#define VMM_DEVICES_SERIAL_CONSOLE_H_

#include <array>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "vmm/base/unique_fd.h"
#include "vmm/bus/interrupt.h"
#include "vmm/devices/serial/output.h"
#include "vmm/devices/serial/uart.h"
#include "vmm/event/event_loop.h"

namespace hull::serial {

// Joins a Uart, its Output and, if there is one, an input descriptor. Belongs to the loop's thread.
class Console {
 public:
  // `input` may be empty. `loop` must outlive the console.
  static absl::StatusOr<std::unique_ptr<Console>> Create(EventLoop& loop,
                                                         std::shared_ptr<Interrupt> interrupt,
                                                         UniqueFd output, UniqueFd input);
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;
  ~Console();

  // To be plugged into the port bus. No vCPU may use it once the console is gone.
  std::shared_ptr<Uart> uart() const { return uart_; }

  // Writes what the guest printed last: see Output::Drain.
  void Drain(absl::Duration timeout) { output_->Drain(timeout); }

 private:
  explicit Console(EventLoop& loop) : loop_(loop) {}

  absl::Status WatchInput(UniqueFd input);
  void OnInput();
  void Offer();

  EventLoop& loop_;
  std::unique_ptr<Output> output_;
  std::shared_ptr<Uart> uart_;

  UniqueFd input_;
  EventLoop::Id input_watch_ = 0;
  std::unique_ptr<EventFd> room_;  // The UART has room again.
  EventLoop::Id room_watch_ = 0;
  // Read from the descriptor but not yet taken by the guest.
  std::array<uint8_t, 64> buffer_;
  size_t buffer_start_ = 0;
  size_t buffer_end_ = 0;
  bool input_ended_ = false;
};

}  // namespace hull::serial

#endif  // VMM_DEVICES_SERIAL_CONSOLE_H_
