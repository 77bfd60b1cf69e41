// The picture of a machine's screen, in memory that one process writes and its children read.

#ifndef VMM_DISPLAY_SHARED_SCREEN_H_
#define VMM_DISPLAY_SHARED_SCREEN_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "vmm/base/scoped_mmap.h"
#include "vmm/container/pc_question.h"

namespace hull::display {

// A part of the screen, in pixels.
struct Rectangle {
  uint32_t x = 0;
  uint32_t y = 0;
  uint32_t width = 0;
  uint32_t height = 0;

  friend bool operator==(const Rectangle&, const Rectangle&) = default;
};

// A copy of the screen: red in the low eight bits of each pixel, then green, then blue.
struct Frame {
  uint32_t width = 0;
  uint32_t height = 0;
  std::vector<uint32_t> pixels = {};  // row by row
};

// Its memory is inherited by what fork(2) makes. One process publishes, any number update.
class SharedScreen {
 public:
  static absl::StatusOr<SharedScreen> Create();
  SharedScreen(SharedScreen&&) = default;

  // `picture` is in the bounds of vmm/container/screen.h. Nothing happens if nothing has changed.
  void Publish(const container::Picture& picture);

  // How often it was published; odd while that goes on.
  uint32_t generation() const;

  // This process can no longer write to it.
  absl::Status MakeReadOnly();

  // Makes `frame` what is shown. Returns the tiles that have changed, or one rectangle of the whole
  // if the size has. While the writer is at work what is read is a mixture, or nothing: then the
  // generation differs from the one before the call, and the caller asks again.
  std::vector<Rectangle> Update(Frame* frame) const;

 private:
  struct Shared;
  explicit SharedScreen(ScopedMmap memory);
  Shared* shared() const;

  ScopedMmap memory_;
};

}  // namespace hull::display

#endif  // VMM_DISPLAY_SHARED_SCREEN_H_
