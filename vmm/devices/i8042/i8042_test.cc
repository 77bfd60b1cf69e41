#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/devices/i8042/device.h"
#include "vmm/devices/i8042/scan_codes.h"

namespace hull::i8042 {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Counter : Interrupt {
  void Raise() override { ++count; }
  int count = 0;
};

class I8042Test : public testing::Test {
 protected:
  void Command(uint8_t value) { device_.Write(4, std::array{value}); }
  void Data(uint8_t value) { device_.Write(0, std::array{value}); }
  void ToMouse(uint8_t value) {
    Command(0xd4);
    Data(value);
  }
  uint8_t Status() {
    std::array<uint8_t, 1> data;
    device_.Read(4, data);
    return data[0];
  }
  // All that there is to read.
  std::vector<int> Output() {
    std::vector<int> all;
    while ((Status() & 1) != 0) {
      std::array<uint8_t, 1> data;
      device_.Read(0, data);
      all.push_back(data[0]);
    }
    return all;
  }

  std::shared_ptr<Counter> keyboard_ = std::make_shared<Counter>();
  std::shared_ptr<Counter> mouse_ = std::make_shared<Counter>();
  int resets_ = 0;
  Device device_{keyboard_, mouse_, [this] { ++resets_; }};
};

TEST_F(I8042Test, TheControllerTestsItself) {
  EXPECT_EQ(Status() & 3, 0) << "both buffers are empty";
  Command(0xaa);
  EXPECT_THAT(Output(), ElementsAre(0x55));
  Command(0xab);
  EXPECT_THAT(Output(), ElementsAre(0));
  Command(0xa9);
  EXPECT_THAT(Output(), ElementsAre(0));
  Command(0x60);
  Data(0x30);
  Command(0x20);
  EXPECT_THAT(Output(), ElementsAre(0x30));
  EXPECT_EQ(keyboard_->count, 0) << "its own replies interrupt nobody";
}

TEST_F(I8042Test, AKeyIsAnInterruptForEachOfItsCodes) {
  EXPECT_EQ(device_.PressKeys(std::array<uint8_t, 2>{0x1e, 0x9e}), 2u);
  EXPECT_EQ(keyboard_->count, 1);
  std::array<uint8_t, 1> data;
  device_.Read(0, data);
  EXPECT_EQ(data[0], 0x1e);
  EXPECT_EQ(keyboard_->count, 2);
  EXPECT_THAT(Output(), ElementsAre(0x9e));
  EXPECT_EQ(keyboard_->count, 2);
}

TEST_F(I8042Test, AKeyThatCameWhileInterruptsWereOffIsAnnouncedOnceTheyAreOn) {
  Command(0x60);
  Data(0x44);
  device_.PressKeys(std::array<uint8_t, 1>{0x1e});
  EXPECT_EQ(keyboard_->count, 0);
  Command(0x60);
  Data(0x45);
  EXPECT_EQ(keyboard_->count, 1);
  Command(0x60);
  Data(0x45);
  EXPECT_EQ(keyboard_->count, 1) << "they were on";
  EXPECT_THAT(Output(), ElementsAre(0x1e));
  Command(0x60);
  Data(0x44);
  Command(0x60);
  Data(0x45);
  EXPECT_EQ(keyboard_->count, 1) << "nothing is there";
}

TEST_F(I8042Test, WithoutTranslationKeysAreOfSetTwo) {
  Command(0x60);
  Data(0x05);
  EXPECT_EQ(device_.PressKeys(std::array<uint8_t, 5>{0x1e, 0x9e, 0xe0, 0x48, 0x55}), 5u);
  EXPECT_THAT(Output(), ElementsAre(0x1c, 0xf0, 0x1c, 0xe0, 0x75)) << "and 0x55 is no key";
}

TEST_F(I8042Test, ADisabledKeyboardKeepsItsKeysAndASilentOneLosesThem) {
  Command(0xad);
  device_.PressKeys(std::array<uint8_t, 1>{0x1e});
  EXPECT_THAT(Output(), IsEmpty());
  Command(0xae);
  EXPECT_THAT(Output(), ElementsAre(0x1e));
  Data(0xf5);
  EXPECT_THAT(Output(), ElementsAre(0xfa));
  EXPECT_EQ(device_.PressKeys(std::array<uint8_t, 1>{0x1e}), 1u);
  EXPECT_THAT(Output(), IsEmpty());
  Data(0xf4);
  device_.PressKeys(std::array<uint8_t, 1>{0x1e});
  EXPECT_THAT(Output(), ElementsAre(0xfa, 0x1e));
}

TEST_F(I8042Test, KeysThatNobodyReadsAreTurnedAway) {
  const std::vector<uint8_t> many(1000, 0x1e);
  const size_t taken = device_.PressKeys(many);
  EXPECT_LT(taken, 300u);
  EXPECT_EQ(Output().size(), taken);
}

TEST_F(I8042Test, TheKeyboardAnswersItsCommands) {
  Data(0xff);
  EXPECT_THAT(Output(), ElementsAre(0xfa, 0xaa));
  Data(0xed);
  Data(0x07);
  EXPECT_THAT(Output(), ElementsAre(0xfa, 0xfa));
  Data(0xf2);
  EXPECT_THAT(Output(), ElementsAre(0xfa, 0xab, 0x41));
  Data(0xf0);
  Data(0x00);
  EXPECT_THAT(Output(), ElementsAre(0xfa, 0xfa, 2));
  Data(0xee);
  EXPECT_THAT(Output(), ElementsAre(0xee));
  Data(0x00);
  EXPECT_THAT(Output(), ElementsAre(0xfe));
}

TEST_F(I8042Test, TheMouseReportsOnceItIsAskedTo) {
  Command(0x60);
  Data(0x47);
  ToMouse(0xff);
  EXPECT_THAT(Output(), ElementsAre(0xfa, 0xaa, 0));
  device_.MoveMouse(1, 1, 0);
  EXPECT_THAT(Output(), IsEmpty());
  ToMouse(0xf4);
  EXPECT_EQ(Status() & 0x20, 0x20) << "the mouse's byte";
  EXPECT_THAT(Output(), ElementsAre(0xfa));
  const int before = mouse_->count;
  device_.MoveMouse(-5, 300, 1);
  EXPECT_EQ(mouse_->count, before + 1);
  EXPECT_THAT(Output(), ElementsAre(0x08 | 0x10 | 1, 0xfb, 255));
  EXPECT_EQ(keyboard_->count, 0);
  ToMouse(0xf3);
  ToMouse(40);
  ToMouse(0xe9);
  EXPECT_THAT(Output(), ElementsAre(0xfa, 0xfa, 0xfa, 0x21, 2, 40));
}

TEST_F(I8042Test, TheResetLineAndA20) {
  Command(0xd0);
  EXPECT_THAT(Output(), ElementsAre(3));
  Command(0xd1);
  Data(0x01);
  Command(0xd0);
  EXPECT_THAT(Output(), ElementsAre(1));
  EXPECT_EQ(resets_, 0);
  Command(0xff);
  EXPECT_EQ(resets_, 0) << "pulses nothing";
  Command(0xfe);
  EXPECT_EQ(resets_, 1);
  Command(0xd1);
  Data(0x02);
  EXPECT_EQ(resets_, 2);
}

TEST(ScanCodesTest, KeysOfBothSets) {
  EXPECT_EQ(Set2Code(0x01), 0x76) << "escape";
  EXPECT_EQ(Set2Code(0x1c), 0x5a) << "enter";
  EXPECT_EQ(Set2Code(0x39), 0x29) << "space";
  EXPECT_EQ(Set2Code(0x44), 0x09) << "F10";
  EXPECT_EQ(Set2Code(0x58), 0x07) << "F12";
  EXPECT_EQ(Set2Code(0x59), 0);
  EXPECT_EQ(Set2Code(0xff), 0);
}

}  // namespace
}  // namespace hull::i8042
