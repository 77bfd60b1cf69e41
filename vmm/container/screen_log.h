// The text that a pc machine writes to its screen, as lines of a log.
//
// A screen is no stream: it is looked at from time to time, and what is new since then is found
// out. A line is told once the cursor has left it (or it is two looks old), and again when it has
// changed. What scrolls by between two looks is lost. Programs that draw the whole screen give
// lines again and again.

#ifndef VMM_CONTAINER_SCREEN_LOG_H_
#define VMM_CONTAINER_SCREEN_LOG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "vmm/container/screen.h"

namespace hull::container {

// Not thread-safe.
class ScreenLog {
 public:
  // The lines that are complete now and were not told, each with a line break. A screen of graphics
  // has none, and what was on the screen before is forgotten.
  std::string Look(const TextScreen& screen);
  // At the end: those that are not complete.
  std::string Finish();

 private:
  struct Line {
    std::string text;
    bool told = false;
    bool seen_twice = false;
  };
  std::vector<Line> lines_;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_SCREEN_LOG_H_
