// Small programs (pc_programs/*.asm) on the pc machine: each video mode against a picture that is
// computed here, interrupts, the clock, diskettes of every format, and memory above 1 MiB.

#include <signal.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/integration/pc_guest.h"
#include "tests/integration/vmm_process.h"

namespace hull {
namespace {

constexpr absl::Duration kDeadline = absl::Seconds(300);
constexpr absl::Duration kLookAgain = absl::Milliseconds(300);

using Rgb = std::array<uint8_t, 3>;
using PixelAt = std::function<Rgb(uint32_t x, uint32_t y)>;

// The 16 colours of CGA, by red, green and blue of 2/3, and 1/3 for the bright ones; brown is dark
// yellow.
Rgb Cga(uint32_t index) {
  const uint32_t bright = (index & 8) != 0 ? 85 : 0;
  const auto level = [&](uint32_t bit) {
    return static_cast<uint8_t>(((index & bit) != 0 ? 170 : 0) + bright);
  };
  if (index == 6) return {170, 85, 0};
  return {level(4), level(2), level(1)};
}

uint8_t From6Bits(uint32_t value) { return static_cast<uint8_t>(value << 2 | value >> 4); }

// What set_palette of pc.inc makes.
Rgb Palette(uint32_t index) {
  index &= 0xff;
  return {From6Bits(index / 4), From6Bits(index * 3 % 64), From6Bits(63 - index / 4)};
}

class PcProgramsTest : public testing::Test {
 protected:
  struct Format {
    uint32_t kib;
    uint8_t cylinders;
    uint8_t heads;
    uint8_t sectors;
  };
  static constexpr Format k1440 = {1440, 80, 2, 18};

  // A diskette with the program; every other sector begins with its number.
  std::string Diskette(const std::string& program, const Format& format) {
    std::ostringstream code;
    code << std::ifstream(DataFile(absl::StrCat("tests/integration/pc_programs/", program, ".bin")))
                .rdbuf();
    std::string content(size_t{format.kib} * 1024, '\0');
    for (size_t sector = 0; sector * 512 < content.size(); ++sector) {
      for (size_t i = 0; i < 4; ++i)
        content[sector * 512 + i] = static_cast<char>(sector >> (8 * i));
    }
    EXPECT_EQ(code.str().size(), 4096u) << program;
    content.replace(0, code.str().size(), code.str());
    content[3] = static_cast<char>(format.cylinders);
    content[4] = static_cast<char>(format.heads);
    content[5] = static_cast<char>(format.sectors);
    const std::string path = directory_.Path(absl::StrCat(program, format.kib));
    std::ofstream(path) << content;
    return absl::StrCat(R"(,"diskettes":[{"path":")", path, R"(","read_only":true}])");
  }
  static void Stop(PcGuest& guest) {
    kill(guest.vmm().pid(), SIGTERM);
    const VmmProcess::Result result = guest.vmm().Wait(kDeadline);
    EXPECT_EQ(result.status, 128 + SIGTERM) << result.err;
  }
  // Runs a program that prints `text`, or what failed.
  void Expect(const std::string& program, const std::string& text, const Format& format = k1440) {
    PcGuest guest(Diskette(program, format));
    EXPECT_TRUE(guest.Await(text, kDeadline)) << program;
    Stop(guest);
  }

  struct Picture {
    uint32_t width = 0;
    uint32_t height = 0;
    std::vector<uint8_t> rgb;
  };
  static Picture Look(PcGuest& guest) {
    const auto number = [](const std::vector<uint8_t>& bytes, size_t at) {
      return bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | uint32_t{bytes[at + 3]} << 24;
    };
    Picture picture;
    const std::vector<uint8_t> size = guest.Ask({'P'});
    if (size.size() != 9) return picture;
    picture.width = number(size, 1);
    picture.height = number(size, 5);
    const size_t bytes = size_t{picture.width} * picture.height * 3;
    while (picture.rgb.size() < bytes) {
      std::vector<uint8_t> request = {'R'};
      for (int i = 0; i < 4; ++i)
        request.push_back(static_cast<uint8_t>(picture.rgb.size() >> (8 * i)));
      const std::vector<uint8_t> part = guest.Ask(request);
      if (part.size() < 2) break;
      picture.rgb.insert(picture.rgb.end(), part.begin() + 1, part.end());
    }
    return picture;
  }
  // How `picture` differs from what it should be; empty if it does not.
  static std::string Difference(const Picture& picture, uint32_t width, uint32_t height,
                                const PixelAt& expected) {
    if (picture.width != width || picture.height != height) {
      return absl::StrCat("it has ", picture.width, " x ", picture.height, " pixels");
    }
    for (uint32_t y = 0; y < height; ++y) {
      for (uint32_t x = 0; x < width; ++x) {
        const Rgb wanted = expected(x, y);
        const uint8_t* const seen = &picture.rgb[(size_t{y} * width + x) * 3];
        if (wanted == Rgb{seen[0], seen[1], seen[2]}) continue;
        return absl::StrCat("the pixel (", x, ", ", y, ") is ", seen[0], " ", seen[1], " ", seen[2],
                            " instead of ", wanted[0], " ", wanted[1], " ", wanted[2]);
      }
    }
    return "";
  }
  static void AwaitPicture(PcGuest& guest, uint32_t width, uint32_t height,
                           const PixelAt& expected) {
    const absl::Time deadline = absl::Now() + kDeadline;
    std::string difference = "nothing was seen";
    while (absl::Now() < deadline) {
      difference = Difference(Look(guest), width, height, expected);
      if (difference.empty()) return;
      absl::SleepFor(kLookAgain);
    }
    FAIL() << difference;
  }
  void ExpectPicture(const std::string& program, uint32_t width, uint32_t height,
                     const PixelAt& expected) {
    PcGuest guest(Diskette(program, k1440));
    AwaitPicture(guest, width, height, expected);
    Stop(guest);
  }

  TemporaryDirectory directory_;
};

TEST_F(PcProgramsTest, EveryTextAttribute) {
  ExpectPicture("text", 720, 400, [](uint32_t x, uint32_t y) {
    const uint32_t cell = y / 16 * 80 + x / 9;
    // Even cells are full, odd ones are blank; the highest bit is blinking.
    return (cell & 1) == 0 ? Cga(cell & 0xf) : Cga(cell >> 4 & 7);
  });
}

TEST_F(PcProgramsTest, AGradientInMode13h) {
  ExpectPicture("mode13", 640, 400, [](uint32_t x, uint32_t y) { return Palette(x / 2 + y / 2); });
}

TEST_F(PcProgramsTest, PageFlipsInModeX) {
  PcGuest guest(Diskette("modex", k1440));
  const PixelAt first = [](uint32_t x, uint32_t y) { return Palette((x / 2) ^ (y / 2)); };
  const PixelAt second = [](uint32_t x, uint32_t y) { return Palette(x / 2 + 2 * (y / 2)); };
  AwaitPicture(guest, 640, 400, first);
  guest.Type(" ");
  AwaitPicture(guest, 640, 400, second);
  guest.Type(" ");
  AwaitPicture(guest, 640, 400, first);
  Stop(guest);
}

TEST_F(PcProgramsTest, PlanarOperations) {
  ExpectPicture("planar", 640, 350, [](uint32_t x, uint32_t y) {
    const uint32_t bar = x / 8 % 16;
    switch (y / 50) {
      case 1:
      case 3:
        return Cga(bar ^ 5);
      case 2:
        return Cga(x % 2 == 0 ? 15 : bar);
      case 4:
        return Cga(x % 8 >= 4 ? 9 : bar);
      case 5:
        return Cga(bar & 3);
      case 6:
        return Cga(x % 8 == 3 || x % 8 == 4 ? bar | 5 : bar);
      default:
        return Cga(bar);
    }
  });
}

TEST_F(PcProgramsTest, TrueColourInTheFrameBuffer) {
  ExpectPicture("vbe32", 1024, 768, [](uint32_t x, uint32_t y) {
    return Rgb{static_cast<uint8_t>(x), static_cast<uint8_t>(y), static_cast<uint8_t>(x + y)};
  });
}

TEST_F(PcProgramsTest, VbeByBanks) {
  ExpectPicture("vbe8", 640, 480, [](uint32_t x, uint32_t y) { return Palette(x + y); });
}

TEST_F(PcProgramsTest, TimerAndKeyboardInterrupts) {
  PcGuest guest(Diskette("interrupts", k1440));
  ASSERT_TRUE(guest.Await("ten ticks", kDeadline));
  guest.Send({0x1e});
  ASSERT_TRUE(guest.Await("key down", kDeadline));
  guest.Send({0x9e});
  EXPECT_TRUE(guest.Await("key up", kDeadline));
  Stop(guest);
}

TEST_F(PcProgramsTest, TheDate) {
  const auto date = [](absl::Time time) {
    return absl::FormatTime("%Y-%m-%d is the date", time, absl::UTCTimeZone());
  };
  // Days around midnight are both right.
  const absl::Time before = absl::Now();
  PcGuest guest(Diskette("rtc", k1440));
  ASSERT_TRUE(guest.Await("is the date", kDeadline));
  const std::string screen = absl::StrJoin(guest.Screen(), "\n");
  EXPECT_TRUE(absl::StrContains(screen, date(before)) ||
              absl::StrContains(screen, date(absl::Now())))
      << screen;
  Stop(guest);
}

TEST_F(PcProgramsTest, EveryTrackOfEveryFormat) {
  constexpr Format kFormats[] = {{160, 40, 1, 8},   {180, 40, 1, 9},  {320, 40, 2, 8},
                                 {360, 40, 2, 9},   {720, 80, 2, 9},  {1200, 80, 2, 15},
                                 {1440, 80, 2, 18}, {2880, 80, 2, 36}};
  for (const Format& format : kFormats) {
    SCOPED_TRACE(absl::StrCat(format.kib, " KiB"));
    Expect("tracks", "every sector is right", format);
  }
}

TEST_F(PcProgramsTest, UnrealMode) { Expect("unreal", "unreal mode reaches it"); }

}  // namespace
}  // namespace hull
