#include "vmm/display/input.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::display {
namespace {

TEST(InputTest, IsReadAsItWasWritten) {
  EXPECT_EQ(ParseInput(EncodeKeys({0xe0, 0x48})), Input(Keys{.codes = {0xe0, 0x48}}));
  const Movement movement = {.dx = -300, .dy = 32767, .buttons = 5};
  EXPECT_EQ(ParseInput(EncodeMovement(movement)), Input(movement));
}

TEST(InputTest, RefusesWhatIsNone) {
  const std::string too_long = "K" + std::string(kMaxCodes + 1, 'a');
  for (const absl::string_view message :
       {absl::string_view(""), absl::string_view("K"), absl::string_view(too_long),
        absl::string_view("M12345678"), absl::string_view("M1234"), absl::string_view("X1")}) {
    EXPECT_EQ(ParseInput(message), Input(BadInput{})) << message;
  }
}

}  // namespace
}  // namespace hull::display
