#include "vmm/container/screen_log.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hull::container {
namespace {

void Tell(const std::string& text, std::string* out) {
  if (!text.empty()) absl::StrAppend(out, text, "\n");
}

}  // namespace

std::string ScreenLog::Look(const TextScreen& screen) {
  std::string out;
  std::vector<std::string> rows;
  for (uint32_t row = 0; row < screen.rows; ++row) rows.push_back(RowText(screen, row));
  // How far what was there has scrolled: where most lines that are not blank are still the same.
  // Not at all, if that is as good.
  size_t scrolled = 0;
  size_t best = 0;
  for (size_t by = 0; by < lines_.size(); ++by) {
    size_t same = 0;
    for (size_t i = by; i < lines_.size() && i - by < rows.size(); ++i) {
      if (!lines_[i].text.empty() && lines_[i].text == rows[i - by]) ++same;
    }
    if (same > best) {
      best = same;
      scrolled = by;
    }
  }
  for (size_t i = 0; i < scrolled; ++i) {
    if (!lines_[i].told) Tell(lines_[i].text, &out);
  }
  lines_.erase(lines_.begin(), lines_.begin() + static_cast<ptrdiff_t>(scrolled));
  lines_.resize(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    Line& line = lines_[i];
    if (line.text != rows[i]) {
      line = {.text = std::move(rows[i])};
    } else {
      line.seen_twice = true;
    }
    // Somebody may still be writing where the cursor is, and behind it.
    const bool left = i < screen.cursor_row;
    const bool settled = line.seen_twice && i != screen.cursor_row;
    if (!line.told && (left || settled)) {
      Tell(line.text, &out);
      line.told = true;
    }
  }
  return out;
}

std::string ScreenLog::Finish() {
  std::string out;
  for (const Line& line : lines_) {
    if (!line.told) Tell(line.text, &out);
  }
  lines_.clear();
  return out;
}

}  // namespace hull::container
