// The pc machine with programs that nobody wrote for it: SeaBIOS, and FreeDOS from its diskettes.
//
// The diskettes are in the folder $HULL_TEST_DATA, or in ../shared/data beside the repository.

#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/pc_guest.h"
#include "tests/integration/vmm_process.h"

namespace hull {
namespace {

using ::testing::HasSubstr;

// KVM without hardware virtualisation boots DOS in half a minute while nothing else runs.
constexpr absl::Duration kBoot = absl::Seconds(400);
constexpr absl::Duration kCommand = absl::Seconds(120);
constexpr char kPrompt[] = "A:\\>";

std::filesystem::path TestData() {
  if (const char* const folder = getenv("HULL_TEST_DATA")) return folder;
  // A file of the repository that the test has among its data leads to where that is.
  const std::filesystem::path page =
      std::filesystem::canonical(DataFile("tests/integration/README.md"));
  return page.parent_path().parent_path().parent_path().parent_path() / "shared" / "data";
}

class DosTest : public testing::Test {
 protected:
  // A copy of a diskette, as DOS writes to it.
  std::string Diskette(const std::string& name) {
    const std::filesystem::path from = TestData() / name;
    const std::string copy = directory_.Path(name);
    std::filesystem::copy_file(from, copy, std::filesystem::copy_options::overwrite_existing);
    return copy;
  }
  static std::string With(const std::string& diskette, bool read_only = false) {
    return absl::StrCat(R"(,"diskettes":[{"path":")", diskette, R"(","read_only":)",
                        read_only ? "true" : "false", "}]");
  }
  static void Stop(PcGuest& guest) {
    kill(guest.vmm().pid(), SIGTERM);
    const VmmProcess::Result result = guest.vmm().Wait(kCommand);
    EXPECT_EQ(result.status, 128 + SIGTERM) << result.err;
  }

  TemporaryDirectory directory_;
};

TEST_F(DosTest, WithoutADisketteTheBiosSaysSo) {
  PcGuest guest("");
  EXPECT_TRUE(guest.Await("SeaBIOS", kCommand));
  EXPECT_TRUE(guest.Await("No bootable device", kCommand));
  Stop(guest);
}

TEST_F(DosTest, ADisketteWithoutABootSectorIsNotBooted) {
  const std::string path = directory_.Path("empty");
  std::ofstream(path) << std::string(1440 * 1024, '\0');
  PcGuest guest(With(path, /*read_only=*/true));
  EXPECT_TRUE(guest.Await("Boot failed: not a bootable disk", kCommand));
  Stop(guest);
}

TEST_F(DosTest, AnImageOfNoDisketteIsRefused) {
  const std::string path = directory_.Path("odd");
  std::ofstream(path) << std::string(1000 * 512, '\0');
  PcGuest guest(With(path));
  const VmmProcess::Result result = guest.vmm().Wait(kCommand);
  EXPECT_EQ(result.status, 64);
  EXPECT_THAT(result.err, HasSubstr("no diskette has 512000 bytes"));
}

// The jail lets it have as many threads as all of these take.
TEST_F(DosTest, EveryDriveAtOnce) {
  for (const char* drive : {"a", "b", "c", "d", "e"}) {
    std::ofstream(directory_.Path(drive)) << std::string(360 * 1024, '\0');
  }
  const auto file = [&](const char* name) {
    return absl::StrCat(R"({"path":")", directory_.Path(name), R"("})");
  };
  PcGuest guest(absl::StrCat(R"(,"diskettes":[)", file("a"), ",", file("b"), R"(],"disks":[)",
                             file("c"), ",", file("d"), R"(],"cdrom":)", file("e")),
                DataFile("tests/integration/guests/firmware.elf"));
  const VmmProcess::Result result = guest.vmm().Wait(kCommand);
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.status, 0) << result.err;
}

TEST_F(DosTest, RandomValuesInEveryRegisterHarmNobody) {
  const std::string diskette = directory_.Path("diskette");
  std::ofstream(diskette) << std::string(360 * 1024, '\0');
  PcGuest guest(With(diskette), DataFile("tests/integration/guests/pc_registers.elf"));
  // Somebody looks and types meanwhile.
  while (true) {
    if (guest.Ask({'T'}).empty() || guest.Ask({'P'}).empty()) break;
    if (guest.Ask({'K', 0x1e, 0x9e}).empty() || guest.Ask({'M', 5, 0, 5, 0, 1}).empty()) break;
  }
  const VmmProcess::Result result = guest.vmm().Wait(kBoot);
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.status, 0) << result.err;
}

// With diskettes that are no part of the repository.
class FreeDosTest : public DosTest {
 protected:
  void SetUp() override {
    if (getenv("HULL_TEST_DATA") == nullptr && !std::filesystem::exists(TestData())) {
      GTEST_SKIP() << "test data is not there: " << TestData()
                   << " has the diskettes of FreeDOS; or set HULL_TEST_DATA to a folder with them";
    }
  }
};

TEST_F(FreeDosTest, AConversation) {
  const std::string diskette = Diskette("freedos-1440k.img");
  PcGuest guest(With(diskette));
  ASSERT_TRUE(guest.AwaitPrompt(kPrompt, kBoot));
  guest.Type("ver\n");
  EXPECT_TRUE(guest.Await("FreeCom", kCommand));
  ASSERT_TRUE(guest.AwaitPrompt(kPrompt, kCommand));
  guest.Type("cls\n");
  ASSERT_TRUE(guest.AwaitPrompt(kPrompt, kCommand));
  guest.Type("echo written by dos>new.txt\n");
  ASSERT_TRUE(guest.AwaitPrompt(kPrompt, kCommand));
  guest.Type("cls\n");
  ASSERT_TRUE(guest.AwaitPrompt(kPrompt, kCommand));
  guest.Type("copy new.txt second.txt\n");
  ASSERT_TRUE(guest.AwaitPrompt(kPrompt, kCommand));
  guest.Type("cls\n");
  ASSERT_TRUE(guest.AwaitPrompt(kPrompt, kCommand));
  guest.Type("type second.txt\n");
  EXPECT_TRUE(guest.Await("written by dos", kCommand));
  ASSERT_TRUE(guest.AwaitPrompt(kPrompt, kCommand));
  guest.Type("dir *.txt\n");
  EXPECT_TRUE(guest.Await("SECOND", kCommand));
  ASSERT_TRUE(guest.AwaitPrompt(kPrompt, kCommand));
  // Days around midnight are both right.
  const absl::Time before = absl::Now();
  guest.Type("date\n");
  ASSERT_TRUE(guest.Await("Enter new date", kCommand));
  const std::string screen = absl::StrJoin(guest.Screen(), "\n");
  const auto shown = [](absl::Time time) {
    return absl::FormatTime("%m-%d-%Y", time, absl::UTCTimeZone());
  };
  EXPECT_TRUE(absl::StrContains(screen, shown(before)) ||
              absl::StrContains(screen, shown(absl::Now())))
      << screen;
  guest.Type("\n");
  ASSERT_TRUE(guest.AwaitPrompt(kPrompt, kCommand));
  // The picture of that text: 80 columns of 9 dots, 25 rows of 16 lines.
  const std::vector<uint8_t> size = guest.Ask({'P'});
  EXPECT_EQ(size, (std::vector<uint8_t>{'P', 0xd0, 0x02, 0, 0, 0x90, 0x01, 0, 0}));
  Stop(guest);
  // What DOS wrote is on the diskette.
  std::ostringstream content;
  content << std::ifstream(diskette, std::ios::binary).rdbuf();
  EXPECT_TRUE(absl::StrContains(content.str(), "written by dos\r\n"));
  EXPECT_TRUE(absl::StrContains(content.str(), "SECOND  TXT"));
}

TEST_F(FreeDosTest, TheSmallestDisketteBoots) {
  PcGuest guest(With(Diskette("freedos-160k.img"), /*read_only=*/true));
  EXPECT_TRUE(guest.AwaitPrompt(kPrompt, kBoot));
  Stop(guest);
}

}  // namespace
}  // namespace hull
