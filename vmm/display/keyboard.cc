#include "vmm/display/keyboard.h"

#include <rfb/keysym.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace hull::display {
namespace {

using container::KeyPosition;

struct SymbolName {
  uint32_t symbol;
  const char* name;  // of PositionOfKey()
};

constexpr SymbolName kSymbols[] = {
    {XK_Return, "enter"},
    {XK_Linefeed, "enter"},
    {XK_Escape, "esc"},
    {XK_Tab, "tab"},
    {XK_ISO_Left_Tab, "tab"},
    {XK_BackSpace, "backspace"},
    {XK_Up, "up"},
    {XK_Down, "down"},
    {XK_Left, "left"},
    {XK_Right, "right"},
    {XK_Home, "home"},
    {XK_End, "end"},
    {XK_Page_Up, "pgup"},
    {XK_Page_Down, "pgdn"},
    {XK_Insert, "ins"},
    {XK_Delete, "del"},
    {XK_Caps_Lock, "capslock"},
    {XK_Num_Lock, "numlock"},
    {XK_Scroll_Lock, "scrolllock"},
    {XK_Print, "print"},
    {XK_Menu, "menu"},
    {XK_Shift_L, "shift"},
    {XK_Shift_R, "rshift"},
    {XK_Control_L, "ctrl"},
    {XK_Control_R, "rctrl"},
    {XK_Alt_L, "alt"},
    {XK_Meta_L, "alt"},
    {XK_Alt_R, "altgr"},
    {XK_Meta_R, "altgr"},
    {XK_ISO_Level3_Shift, "altgr"},
    {XK_Mode_switch, "altgr"},
    {XK_Super_L, "win"},
    {XK_KP_Enter, "kpenter"},
    {XK_KP_Add, "kpplus"},
    {XK_KP_Subtract, "kpminus"},
    {XK_KP_Multiply, "kpstar"},
    {XK_KP_Divide, "kpslash"},
    {XK_KP_Decimal, "kpdot"},
    {XK_KP_Separator, "kpdot"},
    {XK_KP_Delete, "kpdot"},
    {XK_KP_Insert, "kp0"},
    {XK_KP_End, "kp1"},
    {XK_KP_Down, "kp2"},
    {XK_KP_Page_Down, "kp3"},
    {XK_KP_Left, "kp4"},
    {XK_KP_Begin, "kp5"},
    {XK_KP_Right, "kp6"},
    {XK_KP_Home, "kp7"},
    {XK_KP_Up, "kp8"},
    {XK_KP_Page_Up, "kp9"},
};

const KeyPosition kLeftShift = {.code = 0x2a};
const KeyPosition kRightShift = {.code = 0x36};

bool IsCharacter(uint32_t symbol) { return symbol >= XK_space && symbol <= XK_asciitilde; }

std::optional<KeyPosition> PositionOfSymbol(uint32_t symbol) {
  if (IsCharacter(symbol)) return container::PositionOfCharacter(static_cast<char>(symbol));
  if (symbol >= XK_F1 && symbol <= XK_F12) {
    return container::PositionOfKey(absl::StrCat("f", symbol - XK_F1 + 1));
  }
  if (symbol >= XK_KP_0 && symbol <= XK_KP_9) {
    return container::PositionOfKey(absl::StrCat("kp", symbol - XK_KP_0));
  }
  for (const SymbolName& known : kSymbols) {
    if (known.symbol == symbol) return container::PositionOfKey(known.name);
  }
  return std::nullopt;
}

// Whether the same key without Shift is another character.
bool DependsOnShift(uint32_t symbol) {
  return IsCharacter(symbol) && symbol != XK_space &&
         !absl::ascii_isalpha(static_cast<unsigned char>(symbol));
}

}  // namespace

bool Keyboard::ShiftHeld() const {
  return std::any_of(held_.begin(), held_.end(), [](const KeyPosition& key) {
    return key == kLeftShift || key == kRightShift;
  });
}

std::vector<uint8_t> Keyboard::Press(uint32_t symbol) {
  const std::optional<KeyPosition> found = PositionOfSymbol(symbol);
  if (!found.has_value()) return {};
  const KeyPosition key = {.code = found->code, .extended = found->extended};
  std::vector<uint8_t> codes;
  const bool other_shift = DependsOnShift(symbol) && found->shift != ShiftHeld();
  if (other_shift && found->shift) {
    container::AppendPress(kLeftShift, &codes);
    container::AppendPress(key, &codes);
    container::AppendRelease(kLeftShift, &codes);
  } else if (other_shift) {
    std::vector<KeyPosition> shifts;
    std::copy_if(held_.begin(), held_.end(), std::back_inserter(shifts),
                 [](const KeyPosition& k) { return k == kLeftShift || k == kRightShift; });
    for (const KeyPosition& shift : shifts) container::AppendRelease(shift, &codes);
    container::AppendPress(key, &codes);
    for (const KeyPosition& shift : shifts) container::AppendPress(shift, &codes);
  } else {
    container::AppendPress(key, &codes);
  }
  if (std::find(held_.begin(), held_.end(), key) == held_.end()) held_.push_back(key);
  return codes;
}

std::vector<uint8_t> Keyboard::Release(uint32_t symbol) {
  const std::optional<KeyPosition> found = PositionOfSymbol(symbol);
  if (!found.has_value()) return {};
  const KeyPosition key = {.code = found->code, .extended = found->extended};
  const auto held = std::find(held_.begin(), held_.end(), key);
  if (held == held_.end()) return {};
  held_.erase(held);
  std::vector<uint8_t> codes;
  container::AppendRelease(key, &codes);
  return codes;
}

std::vector<uint8_t> Keyboard::ReleaseAll() {
  std::vector<uint8_t> codes;
  for (const KeyPosition& key : held_) container::AppendRelease(key, &codes);
  held_.clear();
  return codes;
}

}  // namespace hull::display
