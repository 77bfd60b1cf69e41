// The input is a reply of a machine: what is understood lies within the bounds, and its text has no
// control character but line breaks.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "vmm/container/screen.h"
#include "vmm/container/screen_log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace container = hull::container;
  const absl::string_view reply(reinterpret_cast<const char*>(data), size);
  (void)container::ParseKeysReply(reply, 10);
  const auto picture = container::ParsePictureReply(reply);
  if (picture.ok() && uint64_t{picture->width} * picture->height > container::kMaxPicturePixels) {
    abort();
  }
  const auto pixels = container::ParsePixelsReply(reply, 100);
  if (pixels.ok() && pixels->size() > 100) abort();
  const auto screen = container::ParseTextReply(reply);
  if (!screen.ok()) return 0;
  if (screen->cells.size() != size_t{screen->columns} * screen->rows) abort();
  for (const char c : container::ScreenText(*screen)) {
    if (static_cast<uint8_t>(c) < 0x20 && c != '\n') abort();
  }
  container::ScreenLog log;
  log.Look(*screen);
  log.Look(*screen);
  log.Finish();
  return 0;
}
