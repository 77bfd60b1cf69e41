#include "vmm/devices/i8042/controller.h"

#include <algorithm>
#include <utility>

#include "vmm/devices/i8042/scan_codes.h"

namespace hull::i8042 {

namespace {

// Status register.
constexpr uint8_t kOutputFull = 1 << 0;
constexpr uint8_t kSystemFlag = 1 << 2;
constexpr uint8_t kLastWasCommand = 1 << 3;
constexpr uint8_t kNotLocked = 1 << 4;
constexpr uint8_t kOutputOfMouse = 1 << 5;

// Command byte.
constexpr uint8_t kKeyboardInterrupt = 1 << 0;
constexpr uint8_t kMouseInterrupt = 1 << 1;
constexpr uint8_t kKeyboardDisabled = 1 << 4;
constexpr uint8_t kMouseDisabled = 1 << 5;
constexpr uint8_t kTranslate = 1 << 6;

// Commands of the controller.
constexpr uint8_t kReadCommandByte = 0x20;
constexpr uint8_t kWriteCommandByte = 0x60;
constexpr uint8_t kDisableMouse = 0xa7;
constexpr uint8_t kEnableMouse = 0xa8;
constexpr uint8_t kTestMouse = 0xa9;
constexpr uint8_t kSelfTest = 0xaa;
constexpr uint8_t kTestKeyboard = 0xab;
constexpr uint8_t kDisableKeyboard = 0xad;
constexpr uint8_t kEnableKeyboard = 0xae;
constexpr uint8_t kReadInputPort = 0xc0;
constexpr uint8_t kReadOutputPort = 0xd0;
constexpr uint8_t kWriteOutputPort = 0xd1;
constexpr uint8_t kWriteKeyboardOutput = 0xd2;
constexpr uint8_t kWriteMouseOutput = 0xd3;
constexpr uint8_t kWriteToMouse = 0xd4;
constexpr uint8_t kPulse = 0xf0;  // The low four bits that are zero name the lines.
constexpr uint8_t kSelfTestPassed = 0x55;
constexpr uint8_t kPortPassed = 0x00;

// Output port.
constexpr uint8_t kResetLine = 1 << 0;  // Resets while low.
constexpr uint8_t kA20Line = 1 << 1;

// Commands and replies of both devices.
constexpr uint8_t kSetResolution = 0xe8;
constexpr uint8_t kSetLeds = 0xed;
constexpr uint8_t kEcho = 0xee;
constexpr uint8_t kScanCodeSet = 0xf0;
constexpr uint8_t kStatusRequest = 0xe9;
constexpr uint8_t kReadMovement = 0xeb;
constexpr uint8_t kIdentify = 0xf2;
constexpr uint8_t kSetRate = 0xf3;
constexpr uint8_t kEnable = 0xf4;
constexpr uint8_t kDisable = 0xf5;
constexpr uint8_t kSetDefaults = 0xf6;
constexpr uint8_t kResend = 0xfe;
constexpr uint8_t kReset = 0xff;
constexpr uint8_t kAcknowledge = 0xfa;
constexpr uint8_t kTestPassed = 0xaa;
constexpr uint8_t kMouseId = 0x00;

constexpr uint8_t kRelease = 0x80;
constexpr uint8_t kPrefix = 0xe0;
constexpr uint8_t kPausePrefix = 0xe1;
constexpr uint8_t kSet2Release = 0xf0;

constexpr size_t kLongestKey = 2;  // Codes that set 2 has for one of set 1.
constexpr size_t kMovementSize = 3;
constexpr int kMaxMovement = 255;

}  // namespace

bool Controller::Translates() const {
  return (command_byte_ & kTranslate) != 0 || scan_code_set_ == 1;
}

uint8_t Controller::ReadStatus() const {
  uint8_t status = kNotLocked | (command_byte_ & kSystemFlag);
  if (output_.has_value()) {
    status |= kOutputFull;
    if (output_source_ == Source::kMouse) status |= kOutputOfMouse;
  }
  if (last_was_command_) status |= kLastWasCommand;
  return status;
}

uint8_t Controller::ReadData() {
  const uint8_t value = output_.value_or(0);
  output_.reset();
  FillOutput();
  return value;
}

void Controller::FillOutput() {
  if (output_.has_value()) return;
  if (reply_.has_value()) {
    output_ = std::exchange(reply_, std::nullopt);
    output_source_ = Source::kController;
    return;
  }
  if ((command_byte_ & kKeyboardDisabled) == 0 && (!keyboard_replies_.empty() || !keys_.empty())) {
    output_ = !keyboard_replies_.empty() ? keyboard_replies_.Take() : keys_.Take();
    output_source_ = Source::kKeyboard;
    if ((command_byte_ & kKeyboardInterrupt) != 0) signals_.keyboard_interrupt = true;
    return;
  }
  if ((command_byte_ & kMouseDisabled) == 0 && (!mouse_replies_.empty() || !movements_.empty())) {
    output_ = !mouse_replies_.empty() ? mouse_replies_.Take() : movements_.Take();
    output_source_ = Source::kMouse;
    if ((command_byte_ & kMouseInterrupt) != 0) signals_.mouse_interrupt = true;
  }
}

void Controller::SetOutputPort(uint8_t value) {
  a20_ = (value & kA20Line) != 0;
  if ((value & kResetLine) == 0) signals_.reset = true;
}

void Controller::WriteCommand(uint8_t command) {
  last_was_command_ = true;
  pending_command_.reset();
  switch (command) {
    case kReadCommandByte:
      reply_ = command_byte_;
      break;
    case kWriteCommandByte:
    case kWriteOutputPort:
    case kWriteKeyboardOutput:
    case kWriteMouseOutput:
    case kWriteToMouse:
      pending_command_ = command;
      break;
    case kDisableMouse:
      command_byte_ |= kMouseDisabled;
      break;
    case kEnableMouse:
      command_byte_ &= static_cast<uint8_t>(~kMouseDisabled);
      break;
    case kTestMouse:
    case kTestKeyboard:
      reply_ = kPortPassed;
      break;
    case kSelfTest:
      command_byte_ |= kSystemFlag;
      reply_ = kSelfTestPassed;
      break;
    case kDisableKeyboard:
      command_byte_ |= kKeyboardDisabled;
      break;
    case kEnableKeyboard:
      command_byte_ &= static_cast<uint8_t>(~kKeyboardDisabled);
      break;
    case kReadInputPort:
      reply_ = 0;
      break;
    case kReadOutputPort:
      reply_ = static_cast<uint8_t>(kResetLine | (a20_ ? kA20Line : 0));
      break;
    default:
      if (command >= kPulse && (command & kResetLine) == 0) signals_.reset = true;
      break;
  }
  FillOutput();
}

void Controller::WriteData(uint8_t value) {
  last_was_command_ = false;
  switch (std::exchange(pending_command_, std::nullopt).value_or(0)) {
    case kWriteCommandByte: {
      const uint8_t allowed = static_cast<uint8_t>(value & ~command_byte_);
      command_byte_ = value;
      // The interrupt is that of a full output buffer: what came while it was not allowed is
      // announced now, as nothing follows it before it is read.
      if (output_.has_value()) {
        const bool keyboard = output_source_ == Source::kKeyboard;
        const bool mouse = output_source_ == Source::kMouse;
        signals_.keyboard_interrupt |= keyboard && (allowed & kKeyboardInterrupt) != 0;
        signals_.mouse_interrupt |= mouse && (allowed & kMouseInterrupt) != 0;
      }
      break;
    }
    case kWriteOutputPort:
      SetOutputPort(value);
      break;
    case kWriteKeyboardOutput:
      keyboard_replies_.Put(value);
      break;
    case kWriteMouseOutput:
      mouse_replies_.Put(value);
      break;
    case kWriteToMouse:
      MouseCommand(value);
      break;
    default:
      // Talking to the keyboard enables it.
      command_byte_ &= static_cast<uint8_t>(~kKeyboardDisabled);
      KeyboardCommand(value);
      break;
  }
  FillOutput();
}

void Controller::ResetKeyboard() {
  keys_.Clear();
  scanning_ = true;
  scan_code_set_ = 2;
  keyboard_parameter_of_ = 0;
}

void Controller::KeyboardCommand(uint8_t value) {
  const uint8_t parameter_of = std::exchange(keyboard_parameter_of_, uint8_t{0});
  if (parameter_of != 0 && value < kSetLeds) {
    keyboard_replies_.Put(kAcknowledge);
    if (parameter_of != kScanCodeSet) return;
    if (value == 0) {
      keyboard_replies_.Put(scan_code_set_);
    } else if (value <= 2) {
      scan_code_set_ = value;
    }
    return;
  }
  switch (value) {
    case kSetLeds:
    case kScanCodeSet:
    case kSetRate:
      keyboard_replies_.Put(kAcknowledge);
      keyboard_parameter_of_ = value;
      return;
    case kEcho:
      keyboard_replies_.Put(kEcho);
      return;
    case kIdentify:
      keyboard_replies_.Put(kAcknowledge);
      keyboard_replies_.Put(0xab);
      keyboard_replies_.Put(Translates() ? 0x41 : 0x83);
      return;
    case kEnable:
      keyboard_replies_.Put(kAcknowledge);
      scanning_ = true;
      return;
    case kDisable:
    case kSetDefaults:
      keyboard_replies_.Put(kAcknowledge);
      ResetKeyboard();
      scanning_ = value == kSetDefaults;
      return;
    case kReset:
      keyboard_replies_.Clear();
      ResetKeyboard();
      keyboard_replies_.Put(kAcknowledge);
      keyboard_replies_.Put(kTestPassed);
      return;
    default:
      keyboard_replies_.Put(kResend);
      return;
  }
}

size_t Controller::PressKeys(std::span<const uint8_t> codes) {
  size_t taken = 0;
  // A keyboard that was told not to scan loses its keys.
  if (!scanning_) return codes.size();
  while (taken < codes.size() && keys_.room() >= kLongestKey) QueueKey(codes[taken++]);
  FillOutput();
  return taken;
}

void Controller::QueueKey(uint8_t code) {
  if (Translates()) {
    keys_.Put(code);
    return;
  }
  if (code == kPrefix || code == kPausePrefix) {
    keys_.Put(code);
    return;
  }
  const uint8_t key = Set2Code(code & static_cast<uint8_t>(~kRelease));
  if (key == 0) return;
  if ((code & kRelease) != 0) keys_.Put(kSet2Release);
  keys_.Put(key);
}

void Controller::ResetMouse() {
  movements_.Clear();
  reporting_ = false;
  resolution_ = 2;
  sample_rate_ = 100;
  mouse_parameter_of_ = 0;
}

void Controller::MouseCommand(uint8_t value) {
  const uint8_t parameter_of = std::exchange(mouse_parameter_of_, uint8_t{0});
  if (parameter_of != 0) {
    mouse_replies_.Put(kAcknowledge);
    (parameter_of == kSetResolution ? resolution_ : sample_rate_) = value;
    return;
  }
  if (value == kReset) {
    mouse_replies_.Clear();
    ResetMouse();
    mouse_replies_.Put(kAcknowledge);
    mouse_replies_.Put(kTestPassed);
    mouse_replies_.Put(kMouseId);
    return;
  }
  if (value < 0xe6 || value == kResend) {
    mouse_replies_.Put(kResend);
    return;
  }
  mouse_replies_.Put(kAcknowledge);
  switch (value) {
    case kSetResolution:
    case kSetRate:
      mouse_parameter_of_ = value;
      return;
    case kStatusRequest:
      mouse_replies_.Put(static_cast<uint8_t>((reporting_ ? 0x20 : 0) | buttons_));
      mouse_replies_.Put(resolution_);
      mouse_replies_.Put(sample_rate_);
      return;
    case kReadMovement:
      mouse_replies_.Put(static_cast<uint8_t>(0x08 | buttons_));
      mouse_replies_.Put(0);
      mouse_replies_.Put(0);
      return;
    case kIdentify:
      mouse_replies_.Put(kMouseId);
      return;
    case kEnable:
      reporting_ = true;
      return;
    case kDisable:
      reporting_ = false;
      movements_.Clear();
      return;
    case kSetDefaults:
      ResetMouse();
      return;
    default:
      return;  // Scaling and modes, which make no difference here.
  }
}

void Controller::MoveMouse(int dx, int dy, uint8_t buttons) {
  buttons_ = buttons & 7;
  if (!reporting_ || movements_.room() < kMovementSize) return;
  dx = std::clamp(dx, -kMaxMovement, kMaxMovement);
  dy = std::clamp(dy, -kMaxMovement, kMaxMovement);
  movements_.Put(static_cast<uint8_t>(0x08 | buttons_ | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0)));
  movements_.Put(static_cast<uint8_t>(dx));
  movements_.Put(static_cast<uint8_t>(dy));
  FillOutput();
}

Controller::Signals Controller::TakeSignals() { return std::exchange(signals_, Signals{}); }

}  // namespace hull::i8042
