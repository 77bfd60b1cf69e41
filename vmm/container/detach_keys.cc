#include "vmm/container/detach_keys.h"

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace hull::container {
namespace {

constexpr absl::string_view kControl = "ctrl-";

}  // namespace

absl::StatusOr<DetachKeys> DetachKeys::Parse(absl::string_view text) {
  std::string sequence;
  if (text.empty()) return DetachKeys();
  for (absl::string_view key : absl::StrSplit(text, ',')) {
    if (key.size() == 1) {
      sequence += key[0];
      continue;
    }
    if (key.size() == kControl.size() + 1 && absl::StartsWithIgnoreCase(key, kControl)) {
      const char c = absl::ascii_toupper(static_cast<unsigned char>(key.back()));
      // As on a keyboard: the letter's five low bits.
      if (c >= '@' && c <= '_') {
        sequence += static_cast<char>(c & 0x1f);
        continue;
      }
    }
    return absl::InvalidArgumentError(
        absl::StrCat("\"", absl::CHexEscape(key.substr(0, 60)),
                     "\" is no key: one character, or ctrl- and one of a-z @ [ \\ ] ^ _"));
  }
  return DetachKeys(std::move(sequence));
}

DetachKeys::Typed DetachKeys::Filter(absl::string_view typed) {
  Typed result;
  for (const char c : typed) {
    // What was held back and does not go on as the sequence does is for the container, but for an
    // end of it that begins the sequence anew.
    while (!sequence_.empty() && matched_ > 0 && c != sequence_[matched_]) {
      size_t shorter = matched_ - 1;
      while (shorter > 0 && sequence_.compare(0, shorter, sequence_, matched_ - shorter, shorter)) {
        --shorter;
      }
      result.bytes.append(sequence_, 0, matched_ - shorter);
      matched_ = shorter;
    }
    if (sequence_.empty() || c != sequence_[matched_]) {
      result.bytes += c;
    } else if (++matched_ == sequence_.size()) {
      matched_ = 0;
      result.detach = true;
      return result;
    }
  }
  return result;
}

}  // namespace hull::container
