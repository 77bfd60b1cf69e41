// The pc machine with Debian's bootable payloads, from images that the build makes of their
// packages.
//
// GRUB and what it starts run on any KVM. The others are in payloads_virtualization_test.cc.

#include <signal.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/integration/pc_guest.h"
#include "tests/integration/vmm_process.h"

namespace hull {
namespace {

// A KVM without hardware virtualisation executes some million instructions a second.
constexpr absl::Duration kDeadline = absl::Seconds(300);
constexpr absl::Duration kLookAgain = absl::Milliseconds(200);

constexpr uint8_t kDown = 0x50;
constexpr uint8_t kLeft = 0x4b;
constexpr uint8_t kRight = 0x4d;
constexpr uint8_t kEnter = 0x1c;
constexpr uint8_t kArrow = 0xe0;  // Comes before the codes of the arrow keys.
constexpr uint8_t kRelease = 0x80;

void Press(PcGuest& guest, uint8_t code) {
  guest.Send({code, static_cast<uint8_t>(code | kRelease)});
}

void Stop(PcGuest& guest) {
  kill(guest.vmm().pid(), SIGTERM);
  const VmmProcess::Result result = guest.vmm().Wait(kDeadline);
  EXPECT_EQ(result.status, 128 + SIGTERM) << result.err;
}

std::string GrubDisk() { return DataFile("tests/integration/grub.img"); }

// The column of the player's ship, which is the only "/ \" in the lowest rows.
std::optional<size_t> ShipColumn(PcGuest& guest) {
  const std::vector<std::string> rows = guest.Screen();
  for (size_t row = rows.size(); row-- > 20;) {
    const size_t column = rows[row].find("/ \\");
    if (column != std::string::npos) return column;
  }
  return std::nullopt;
}

// Until the ship is where it should be, the arrow key `key` (if any) is held down, as the game
// looks at the keys now and then.
template <typename Predicate>
std::optional<size_t> AwaitShip(PcGuest& guest, uint8_t key, Predicate predicate) {
  const absl::Time deadline = absl::Now() + kDeadline;
  std::optional<size_t> column;
  while (absl::Now() < deadline) {
    column = ShipColumn(guest);
    if (column.has_value() && predicate(*column)) break;
    column.reset();
    if (key != 0) guest.Send({kArrow, key});
    absl::SleepFor(kLookAgain);
  }
  if (key != 0) guest.Send({kArrow, static_cast<uint8_t>(key | kRelease)});
  return column;
}

TEST(PayloadsTest, GrubShowsItsMenuFromADiskAndPlaysInvaders) {
  PcGuest guest(absl::StrCat(R"(,"disks":[{"path":")", GrubDisk(), R"(","read_only":true}])"));
  ASSERT_TRUE(guest.Await("GNU GRUB", kDeadline));
  ASSERT_TRUE(guest.Await("*First entry of a test", kDeadline));
  Press(guest, kDown);
  ASSERT_TRUE(guest.Await("*Invaders", kDeadline));
  Press(guest, kEnter);
  const std::optional<size_t> start =
      AwaitShip(guest, 0, [](size_t column) { return column > 10; });
  ASSERT_TRUE(start.has_value()) << "the game does not begin";
  // The ship goes where the keys send it, and nowhere without them.
  const auto left = AwaitShip(guest, kLeft, [&](size_t column) { return column + 3 < *start; });
  ASSERT_TRUE(left.has_value());
  const auto right = AwaitShip(guest, kRight, [&](size_t column) { return column > *left + 3; });
  EXPECT_TRUE(right.has_value());
  Stop(guest);
}

TEST(PayloadsTest, GrubBootsFromACdByElTorito) {
  PcGuest guest(absl::StrCat(R"(,"cdrom":{"path":")", GrubDisk(), R"("},"boot":["cdrom"])"));
  ASSERT_TRUE(guest.Await("GNU GRUB", kDeadline));
  EXPECT_TRUE(guest.Await("*First entry of a test", kDeadline));
  Stop(guest);
}

}  // namespace
}  // namespace hull
