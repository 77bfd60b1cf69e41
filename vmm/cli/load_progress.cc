#include "vmm/cli/load_progress.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "vmm/base/file_io.h"
#include "vmm/container/outcome.h"

namespace hull::cli {

std::string DescribeProgress(const images::LoadProgress& progress) {
  // The layout's own text.
  const std::string image = container::Printable(progress.image);
  switch (progress.stage) {
    case images::LoadProgress::Stage::kWaiting:
      return "waiting for another load to end";
    case images::LoadProgress::Stage::kSpooling:
      return absl::StrCat("reading, ", progress.bytes >> 20, " MiB");
    case images::LoadProgress::Stage::kConverting: {
      std::string text = absl::StrCat(image, ": layer ", progress.layer, " of ", progress.layers);
      if (progress.total > 0) {
        absl::StrAppend(&text, ", ",
                        static_cast<int>(100.0 * static_cast<double>(progress.bytes) /
                                         static_cast<double>(progress.total)),
                        " %");
      }
      return text;
    }
    case images::LoadProgress::Stage::kFinishing:
      return absl::StrCat(image, ": writing to disk");
  }
  return "";
}

LoadProgressLine::LoadProgressLine() : terminal_(isatty(STDERR_FILENO) == 1) {}

void LoadProgressLine::Show(const images::LoadProgress& progress) {
  if (!terminal_) return;
  std::string text = DescribeProgress(progress);
  if (text == shown_) return;
  shown_ = std::move(text);
  // ESC [K clears to the end of the line (ECMA-48, EL).
  WriteFull(STDERR_FILENO, absl::StrCat("\r", shown_, "\x1b[K")).IgnoreError();
}

void LoadProgressLine::Clear() {
  if (!shown_.empty()) WriteFull(STDERR_FILENO, "\r\x1b[K").IgnoreError();
  shown_.clear();
}

}  // namespace hull::cli
