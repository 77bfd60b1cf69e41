#include "vmm/container/keys.h"

#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace hull::container {
namespace {

constexpr uint8_t kExtended = 0xe0;
constexpr uint8_t kRelease = 0x80;
constexpr uint8_t kShiftCode = 0x2a;
// No name is longer.
constexpr size_t kMaxName = 40;

struct NamedKey {
  const char* name;
  uint8_t code;
  bool extended;
};

constexpr NamedKey kModifiers[] = {
    {"shift", 0x2a, false}, {"rshift", 0x36, false}, {"ctrl", 0x1d, false}, {"rctrl", 0x1d, true},
    {"alt", 0x38, false},   {"altgr", 0x38, true},   {"win", 0x5b, true},
};

constexpr NamedKey kNamedKeys[] = {
    {"enter", 0x1c, false},     {"esc", 0x01, false},     {"tab", 0x0f, false},
    {"backspace", 0x0e, false}, {"space", 0x39, false},   {"up", 0x48, true},
    {"down", 0x50, true},       {"left", 0x4b, true},     {"right", 0x4d, true},
    {"home", 0x47, true},       {"end", 0x4f, true},      {"pgup", 0x49, true},
    {"pgdn", 0x51, true},       {"ins", 0x52, true},      {"del", 0x53, true},
    {"f1", 0x3b, false},        {"f2", 0x3c, false},      {"f3", 0x3d, false},
    {"f4", 0x3e, false},        {"f5", 0x3f, false},      {"f6", 0x40, false},
    {"f7", 0x41, false},        {"f8", 0x42, false},      {"f9", 0x43, false},
    {"f10", 0x44, false},       {"f11", 0x57, false},     {"f12", 0x58, false},
    {"capslock", 0x3a, false},  {"numlock", 0x45, false}, {"scrolllock", 0x46, false},
    {"print", 0x37, true},      {"menu", 0x5d, true},     {"kp0", 0x52, false},
    {"kp1", 0x4f, false},       {"kp2", 0x50, false},     {"kp3", 0x51, false},
    {"kp4", 0x4b, false},       {"kp5", 0x4c, false},     {"kp6", 0x4d, false},
    {"kp7", 0x47, false},       {"kp8", 0x48, false},     {"kp9", 0x49, false},
    {"kpplus", 0x4e, false},    {"kpminus", 0x4a, false}, {"kpstar", 0x37, false},
    {"kpslash", 0x35, true},    {"kpdot", 0x53, false},   {"kpenter", 0x1c, true},
};

// The rows of a US keyboard from the left, without and with Shift, and the first key's code.
struct Row {
  uint8_t first;
  absl::string_view plain;
  absl::string_view shifted;
};
constexpr Row kRows[] = {
    {0x02, "1234567890-=", "!@#$%^&*()_+"},
    {0x10, "qwertyuiop[]", "QWERTYUIOP{}"},
    {0x1e, "asdfghjkl;'`", "ASDFGHJKL:\"~"},
    {0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"},
    {0x39, " ", ""},
    {0x1c, "\n", ""},
    {0x0f, "\t", ""},
};

template <size_t N>
std::optional<KeyPosition> KeyNamed(const NamedKey (&keys)[N], absl::string_view name) {
  for (const NamedKey& key : keys) {
    if (name == key.name) return KeyPosition{.code = key.code, .extended = key.extended};
  }
  return std::nullopt;
}

KeyStroke Stroke(std::vector<KeyPosition> held, const KeyPosition& key) {
  if (key.shift) held.push_back({.code = kShiftCode});
  KeyStroke stroke;
  for (const KeyPosition& modifier : held) AppendPress(modifier, &stroke);
  AppendPress(key, &stroke);
  AppendRelease(key, &stroke);
  for (auto modifier = held.rbegin(); modifier != held.rend(); ++modifier) {
    AppendRelease(*modifier, &stroke);
  }
  return stroke;
}

absl::Status NoKey(absl::string_view what, size_t position) {
  return absl::InvalidArgumentError(absl::StrCat("position ", position + 1, ": ", what));
}

absl::Status UnknownName(absl::string_view name, size_t position) {
  return NoKey(absl::StrCat("there is no key {", absl::CHexEscape(name.substr(0, kMaxName)),
                            "} (hull sendkeys --help lists them)"),
               position);
}

// What is between braces.
absl::StatusOr<KeyStroke> ParseName(absl::string_view name, size_t position) {
  if (name.size() == 4 && absl::StartsWith(name, "0x")) {
    uint32_t code = 0;
    if (!absl::SimpleHexAtoi(name.substr(2), &code) || code == 0) {
      return UnknownName(name, position);
    }
    return KeyStroke{static_cast<uint8_t>(code)};
  }
  std::vector<KeyPosition> held;
  absl::string_view rest = name;
  while (true) {
    // The last one may be '+' itself.
    const size_t plus = rest.find('+');
    if (plus == absl::string_view::npos || plus == 0) break;
    const std::optional<KeyPosition> modifier =
        KeyNamed(kModifiers, absl::AsciiStrToLower(rest.substr(0, plus)));
    if (!modifier.has_value()) return UnknownName(name, position);
    held.push_back(*modifier);
    rest.remove_prefix(plus + 1);
  }
  if (rest.size() == 1) {
    const std::optional<KeyPosition> key = PositionOfCharacter(rest[0]);
    if (!key.has_value()) return UnknownName(name, position);
    return Stroke(std::move(held), *key);
  }
  const std::string lower = absl::AsciiStrToLower(rest);
  // Or a modifier alone, pressed and released.
  const std::optional<KeyPosition> key = PositionOfKey(lower);
  if (!key.has_value()) return UnknownName(name, position);
  return Stroke(std::move(held), *key);
}

}  // namespace

std::optional<KeyPosition> PositionOfCharacter(char character) {
  for (const Row& row : kRows) {
    if (const size_t at = row.plain.find(character); at != absl::string_view::npos) {
      return KeyPosition{.code = static_cast<uint8_t>(row.first + at)};
    }
    if (const size_t at = row.shifted.find(character); at != absl::string_view::npos) {
      return KeyPosition{.code = static_cast<uint8_t>(row.first + at), .shift = true};
    }
  }
  return std::nullopt;
}

std::optional<KeyPosition> PositionOfKey(absl::string_view name) {
  const std::optional<KeyPosition> key = KeyNamed(kNamedKeys, name);
  return key.has_value() ? key : KeyNamed(kModifiers, name);
}

void AppendPress(const KeyPosition& key, std::vector<uint8_t>* codes) {
  if (key.extended) codes->push_back(kExtended);
  codes->push_back(key.code);
}

void AppendRelease(const KeyPosition& key, std::vector<uint8_t>* codes) {
  if (key.extended) codes->push_back(kExtended);
  codes->push_back(key.code | kRelease);
}

absl::StatusOr<std::vector<KeyStroke>> ParseKeys(absl::string_view text) {
  if (text.size() > kMaxKeysText) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than ", kMaxKeysText, " characters of keys at a time"));
  }
  std::vector<KeyStroke> strokes;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '}') return NoKey("a } without a { (the key itself is {}})", i);
    if (text[i] != '{') {
      const std::optional<KeyPosition> key = PositionOfCharacter(text[i]);
      if (!key.has_value()) {
        return NoKey(absl::StrCat("there is no key for \"", absl::CHexEscape(text.substr(i, 1)),
                                  "\" on a US keyboard"),
                     i);
      }
      strokes.push_back(Stroke({}, *key));
      ++i;
      continue;
    }
    // "{}}" is the key of that brace.
    const size_t close = text.find('}', i + 2);
    if (close == absl::string_view::npos || close - i - 1 > kMaxName) {
      return NoKey("a { without a } soon (the key itself is {{})", i);
    }
    absl::StatusOr<KeyStroke> stroke = ParseName(text.substr(i + 1, close - i - 1), i);
    if (!stroke.ok()) return stroke.status();
    strokes.push_back(*std::move(stroke));
    i = close + 1;
  }
  return strokes;
}

std::string KeyNames() {
  const auto name = [](std::string* out, const NamedKey& key) { absl::StrAppend(out, key.name); };
  return absl::StrCat(absl::StrJoin(std::begin(kNamedKeys), std::end(kNamedKeys), " ", name),
                      "; held down with +: ",
                      absl::StrJoin(std::begin(kModifiers), std::end(kModifiers), " ", name));
}

}  // namespace hull::container
