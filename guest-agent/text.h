// Text in fixed storage, for messages built without allocation.

#ifndef GUEST_AGENT_TEXT_H_
#define GUEST_AGENT_TEXT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string_view>

namespace hull::agent {

// The first `n` bytes of `text`, or all if it is shorter; and the rest. Not substr(), which can
// throw: that alone would bring 100 KiB of exception handling into the agent.
inline std::string_view Prefix(std::string_view text, size_t n) {
  return {text.data(), std::min(n, text.size())};
}
inline std::string_view WithoutPrefix(std::string_view text, size_t n) {
  text.remove_prefix(std::min(n, text.size()));
  return text;
}

// The decimal digits of a number, usable as a string_view for as long as the object lives.
class Decimal {
 public:
  explicit Decimal(uint64_t value) {
    do {
      digits_[--start_] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
  }
  operator std::string_view() const { return {digits_ + start_, sizeof(digits_) - start_}; }

 private:
  char digits_[20];
  size_t start_ = sizeof(digits_);
};

// Holds up to kCapacity bytes and a NUL. What does not fit is cut off, and truncated() says so.
template <size_t kCapacity>
class FixedText {
 public:
  static constexpr size_t capacity() { return kCapacity; }

  void Append(std::string_view text) {
    const size_t n = std::min(text.size(), kCapacity - size_);
    truncated_ = truncated_ || n < text.size();
    if (n != 0) std::memcpy(data_ + size_, text.data(), n);
    size_ += n;
    data_[size_] = '\0';
  }
  void Assign(std::initializer_list<std::string_view> parts) {
    size_ = 0;
    truncated_ = false;
    data_[0] = '\0';
    for (std::string_view part : parts) Append(part);
  }
  std::string_view view() const { return {data_, size_}; }
  const char* c_str() const { return data_; }
  bool truncated() const { return truncated_; }

 private:
  char data_[kCapacity + 1] = {};
  size_t size_ = 0;
  bool truncated_ = false;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_TEXT_H_
