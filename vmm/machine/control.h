// Serves the control socket of a pc machine: see control_protocol.h.

#ifndef VMM_MACHINE_CONTROL_H_
#define VMM_MACHINE_CONTROL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"
#include "vmm/devices/i8042/device.h"
#include "vmm/devices/vga/device.h"
#include "vmm/devices/vga/screen.h"
#include "vmm/event/event_loop.h"
#include "vmm/machine/control_protocol.h"

namespace hull::machine {

// Belongs to the loop's thread.
class Control {
 public:
  // kInvalidArgument if `socket` is none. `loop` must outlive it.
  static absl::StatusOr<std::unique_ptr<Control>> Create(EventLoop& loop, UniqueFd socket,
                                                         std::shared_ptr<vga::Device> screen,
                                                         std::shared_ptr<i8042::Device> keyboard);
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;
  ~Control();

 private:
  Control(EventLoop& loop, UniqueFd socket, std::shared_ptr<vga::Device> screen,
          std::shared_ptr<i8042::Device> keyboard)
      : loop_(loop),
        socket_(std::move(socket)),
        screen_(std::move(screen)),
        keyboard_(std::move(keyboard)) {}

  void OnReadable();
  control::Reply Answer(std::span<const uint8_t> message);
  control::Reply Text() const;
  control::Reply Pixels(uint32_t offset) const;
  // The machine goes on without it.
  void Close();

  EventLoop& loop_;
  UniqueFd socket_;
  const std::shared_ptr<vga::Device> screen_;
  const std::shared_ptr<i8042::Device> keyboard_;
  std::optional<EventLoop::Id> watch_;
  vga::Picture picture_;
};

}  // namespace hull::machine

#endif  // VMM_MACHINE_CONTROL_H_
