#include "vmm/display/shared_screen.h"

#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::display {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

container::Picture Black(uint32_t width, uint32_t height) {
  return {.width = width, .height = height, .rgb = std::string(size_t{3} * width * height, '\0')};
}

TEST(SharedScreenTest, TellsTheTilesThatChanged) {
  absl::StatusOr<SharedScreen> created = SharedScreen::Create();
  ASSERT_TRUE(created.ok()) << created.status();
  SharedScreen screen = *std::move(created);
  Frame frame;
  EXPECT_THAT(screen.Update(&frame), IsEmpty());
  container::Picture picture = Black(100, 20);
  screen.Publish(picture);
  EXPECT_THAT(screen.Update(&frame), ElementsAre(Rectangle{.width = 100, .height = 20}));
  EXPECT_THAT(screen.Update(&frame), IsEmpty());

  const uint32_t generation = screen.generation();
  screen.Publish(picture);
  EXPECT_EQ(screen.generation(), generation);
  // The last pixel.
  picture.rgb[picture.rgb.size() - 3] = '\x11';
  picture.rgb[picture.rgb.size() - 2] = '\x22';
  picture.rgb[picture.rgb.size() - 1] = '\x33';
  screen.Publish(picture);
  EXPECT_EQ(screen.generation(), generation + 2);
  EXPECT_THAT(screen.Update(&frame),
              ElementsAre(Rectangle{.x = 64, .y = 16, .width = 36, .height = 4}));
  EXPECT_EQ(frame.pixels.back(), 0x332211u);
}

TEST(SharedScreenTest, AChildSeesWhatIsPublishedAfterItsBirth) {
  absl::StatusOr<SharedScreen> screen = SharedScreen::Create();
  ASSERT_TRUE(screen.ok()) << screen.status();
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    char byte;
    if (!screen->MakeReadOnly().ok() || read(ready[0], &byte, 1) != 1) _exit(2);
    Frame frame;
    screen->Update(&frame);
    _exit(frame.width == 2 && frame.height == 1 && frame.pixels[1] == 0xffffff ? 0 : 1);
  }
  screen->Publish({.width = 2, .height = 1, .rgb = std::string("\0\0\0\xff\xff\xff", 6)});
  ASSERT_EQ(write(ready[1], "", 1), 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  close(ready[0]);
  close(ready[1]);
}

}  // namespace
}  // namespace hull::display
