// The machine behind a display, by way of its container's monitor: asks for the screen, types and
// moves the mouse (vmm/machine/control_protocol.h within vmm/container/attach_protocol.h).

#ifndef VMM_DISPLAY_MACHINE_H_
#define VMM_DISPLAY_MACHINE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/pc_question.h"
#include "vmm/container/screen.h"
#include "vmm/display/input.h"
#include "vmm/event/event_loop.h"

namespace hull::display {

// Belongs to the loop's thread, as its handler does. The machine is the guest's as soon as that has
// broken out of it: replies are hostile input.
class Machine {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // What the screen shows.
    virtual void OnPicture(const container::Picture& picture) = 0;
    // The container has ended, or its monitor or machine makes no sense. Nothing follows.
    virtual void OnEnd() = 0;
  };

  // Both outlive this. `socket` is a connection to a monitor.
  Machine(EventLoop* loop, Handler* handler, UniqueFd socket);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine();

  absl::Status Start();

  // Whether somebody looks: only then is the screen asked for, some times a second.
  void Watch(bool watched);
  // Beyond what waits already, both are dropped: the guest does not read its keyboard.
  void Type(const std::vector<uint8_t>& codes);
  void Point(const Movement& movement);

 private:
  enum class Question { kText, kPicture, kPixels, kKeys, kMouse };

  void Tick();
  void ScheduleTick();
  void SendKeys();
  void SendMovement();
  bool IsAsked(Question question) const;
  bool AsksForScreen() const;
  void Ask(Question question, absl::string_view request);
  void AskForPixels();
  void OnReadable();
  absl::Status OnFrame(absl::string_view message);
  absl::Status OnReply(Question question, absl::string_view reply);
  absl::Status OnText(absl::string_view reply);
  absl::Status OnPixels(absl::string_view reply);
  void End();

  EventLoop* const loop_;
  Handler* const handler_;
  UniqueFd socket_;
  // For a frame. Not cleared at the start.
  const std::unique_ptr<char[]> buffer_;
  std::optional<EventLoop::Id> watch_;
  std::optional<EventLoop::Id> timer_;

  bool watched_ = false;
  std::deque<Question> asked_;  // whose answers are awaited, in order
  std::string answer_;          // the parts of the first one's that are there
  container::TextScreen text_;  // at the last picture
  // Ticks until a picture is asked for whatever the text is: fonts and colours can change alone.
  int ticks_until_picture_ = 0;
  container::Picture picture_;  // as far as it is there
  size_t picture_bytes_ = 0;    // of the whole

  std::deque<uint8_t> keys_;  // that the machine has yet to take
  size_t keys_asked_ = 0;     // of them, in the request that is under way
  std::deque<Movement> movements_;
};

}  // namespace hull::display

#endif  // VMM_DISPLAY_MACHINE_H_
