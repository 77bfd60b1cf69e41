#include "vmm/display/keyboard.h"

#include <rfb/keysym.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::display {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(KeyboardTest, SendsWhatAKeyboardDoes) {
  Keyboard keyboard;
  EXPECT_THAT(keyboard.Press('a'), ElementsAre(0x1e));
  EXPECT_THAT(keyboard.Release('a'), ElementsAre(0x9e));
  EXPECT_THAT(keyboard.Press(XK_Up), ElementsAre(0xe0, 0x48));
  EXPECT_THAT(keyboard.Release(XK_Up), ElementsAre(0xe0, 0xc8));
  EXPECT_THAT(keyboard.Press(XK_F12), ElementsAre(0x58));
  EXPECT_THAT(keyboard.Press(XK_KP_5), ElementsAre(0x4c));
  EXPECT_THAT(keyboard.Press(XK_Return), ElementsAre(0x1c));
}

TEST(KeyboardTest, AHeldShiftIsTheClients) {
  Keyboard keyboard;
  EXPECT_THAT(keyboard.Press(XK_Shift_L), ElementsAre(0x2a));
  EXPECT_THAT(keyboard.Press('A'), ElementsAre(0x1e));
  EXPECT_THAT(keyboard.Press('!'), ElementsAre(0x02));
  EXPECT_THAT(keyboard.Release(XK_Shift_L), ElementsAre(0xaa));
  // The same key, whichever symbol it has by now.
  EXPECT_THAT(keyboard.Release('1'), ElementsAre(0x82));
}

TEST(KeyboardTest, AnotherLayoutsShiftIsMadeThatOfTheUs) {
  Keyboard keyboard;
  EXPECT_THAT(keyboard.Press('@'), ElementsAre(0x2a, 0x03, 0xaa));
  keyboard.Press(XK_Shift_R);
  EXPECT_THAT(keyboard.Press('/'), ElementsAre(0xb6, 0x35, 0x36));
  EXPECT_THAT(keyboard.Press(' '), ElementsAre(0x39));
}

TEST(KeyboardTest, ReleasesWhatIsDown) {
  Keyboard keyboard;
  keyboard.Press(XK_Alt_R);
  keyboard.Press('x');
  keyboard.Press('x');
  EXPECT_THAT(keyboard.ReleaseAll(), ElementsAre(0xe0, 0xb8, 0xad));
  EXPECT_THAT(keyboard.ReleaseAll(), IsEmpty());
  EXPECT_THAT(keyboard.Release('x'), IsEmpty());
}

TEST(KeyboardTest, OtherSymbolsAreNoKeys) {
  Keyboard keyboard;
  for (const uint32_t symbol : {0u, 0x1fu, 0x7fu, 0xe4u, 0xffffffffu, 0x01000394u}) {
    EXPECT_THAT(keyboard.Press(symbol), IsEmpty()) << symbol;
    EXPECT_THAT(keyboard.Release(symbol), IsEmpty()) << symbol;
  }
}

}  // namespace
}  // namespace hull::display
