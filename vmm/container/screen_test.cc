#include "vmm/container/screen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/container/screen_log.h"

namespace hull::container {
namespace {

using ::testing::HasSubstr;

// A screen of these rows with the cursor in a row.
TextScreen Screen(const std::vector<std::string>& rows, uint32_t cursor_row,
                  uint32_t columns = 20) {
  TextScreen screen;
  screen.columns = columns;
  screen.rows = static_cast<uint32_t>(rows.size());
  screen.cursor_shown = true;
  screen.cursor_row = cursor_row;
  for (const std::string& row : rows) {
    for (uint32_t i = 0; i < columns; ++i) {
      screen.cells.push_back(
          {.character = static_cast<uint8_t>(i < row.size() ? row[i] : ' '), .attribute = 7});
    }
  }
  return screen;
}

std::string Reply(const TextScreen& screen) {
  std::string reply = "T";
  const auto put = [&reply](uint32_t value) {
    reply += static_cast<char>(value);
    reply += static_cast<char>(value >> 8);
  };
  put(screen.columns);
  put(screen.rows);
  reply += screen.cursor_shown ? '\x01' : '\x00';
  put(screen.cursor_column);
  put(screen.cursor_row);
  for (const ScreenCell& cell : screen.cells) {
    reply += static_cast<char>(cell.character);
    reply += static_cast<char>(cell.attribute);
  }
  return reply;
}

TEST(ScreenTest, RepliesAreRead) {
  const TextScreen screen = Screen({"one", "two"}, 1);
  const absl::StatusOr<TextScreen> parsed = ParseTextReply(Reply(screen));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, screen);
  EXPECT_TRUE(ParseTextReply(Reply(TextScreen())).value().graphics());
  EXPECT_EQ(*ParseKeysReply(absl::string_view("K\x05\0", 3), 5), 5u);
  const PictureSize size = *ParsePictureReply(absl::string_view("P\x40\x01\0\0\xc8\0\0\0", 9));
  EXPECT_EQ(size.width, 320u);
  EXPECT_EQ(size.height, 200u);
  EXPECT_EQ(*ParsePixelsReply("Rabc", 3), "abc");
}

TEST(ScreenTest, BadRepliesAreRefused) {
  const std::string good = Reply(Screen({"one"}, 0));
  EXPECT_FALSE(ParseTextReply("").ok());
  EXPECT_FALSE(ParseTextReply("E").ok());
  EXPECT_FALSE(ParseTextReply(good.substr(0, 5)).ok());
  EXPECT_FALSE(ParseTextReply(good.substr(0, good.size() - 1)).ok());
  EXPECT_FALSE(ParseTextReply(good + "x").ok());
  // Sizes that are not believed, whatever follows.
  std::string huge = good;
  huge[1] = huge[2] = huge[3] = huge[4] = '\xff';
  EXPECT_FALSE(ParseTextReply(huge).ok());
  std::string no_rows = good;
  no_rows[3] = 0;
  EXPECT_FALSE(ParseTextReply(no_rows).ok());
  EXPECT_FALSE(ParseKeysReply(absl::string_view("K\x06\0", 3), 5).ok());
  EXPECT_FALSE(ParseKeysReply("K", 5).ok());
  EXPECT_FALSE(ParsePictureReply(absl::string_view("P\xff\xff\xff\xff\x01\0\0\0", 9)).ok());
  EXPECT_FALSE(ParsePictureReply(absl::string_view("P\0\x10\0\0\x01\x10\0\0", 9)).ok());
  EXPECT_THAT(ParsePictureReply(absl::string_view("P\0\0\0\0\0\0\0\0", 9)).status().ToString(),
              HasSubstr("nothing yet"));
  EXPECT_FALSE(ParsePixelsReply("Rabcd", 3).ok());
  EXPECT_FALSE(ParsePixelsReply("R", 3).ok());
}

TEST(ScreenTest, ACursorBeyondTheScreenIsNotShown) {
  TextScreen screen = Screen({"one"}, 0);
  screen.cursor_column = 20;
  EXPECT_FALSE(ParseTextReply(Reply(screen))->cursor_shown);
}

TEST(ScreenTest, TextIsFitForATerminal) {
  for (int character = 0; character < 256; ++character) {
    const absl::string_view text = Cp437ToUtf8(static_cast<uint8_t>(character));
    ASSERT_FALSE(text.empty());
    EXPECT_FALSE(text.size() == 1 && (text[0] < 0x20 || text[0] == 0x7f)) << character;
    // Nor one of the control characters behind U+0080.
    EXPECT_FALSE(text.size() == 2 && text[0] == '\xc2' && static_cast<uint8_t>(text[1]) < 0xa0)
        << character;
  }
  EXPECT_EQ(Cp437ToUtf8(0x84), "ä");
  EXPECT_EQ(Cp437ToUtf8(0xcd), "═");
  EXPECT_EQ(Cp437ToUtf8(0x1b), "←");
  EXPECT_EQ(ScreenText(Screen({"A:\\>dir  ", "", "\x1b[31m", "", ""}, 0)), "A:\\>dir\n\n←[31m\n");
}

TEST(ScreenLogTest, LinesAreToldOnceTheCursorHasLeftThem) {
  ScreenLog log;
  EXPECT_EQ(log.Look(Screen({"Boo", "", ""}, 0)), "");
  EXPECT_EQ(log.Look(Screen({"Booting", "No bootable", ""}, 1)), "Booting\n");
  EXPECT_EQ(log.Look(Screen({"Booting", "No bootable device.", ""}, 2)), "No bootable device.\n");
  EXPECT_EQ(log.Look(Screen({"Booting", "No bootable device.", ""}, 2)), "");
  EXPECT_EQ(log.Finish(), "");
}

TEST(ScreenLogTest, WhatScrollsIsToldOnce) {
  ScreenLog log;
  EXPECT_EQ(log.Look(Screen({"a", "b", "c"}, 2)), "a\nb\n");
  EXPECT_EQ(log.Look(Screen({"b", "c", "d"}, 2)), "c\n");
  EXPECT_EQ(log.Look(Screen({"d", "e", "f"}, 2)), "d\ne\n");
  EXPECT_EQ(log.Finish(), "f\n");
}

TEST(ScreenLogTest, LinesElsewhereAreToldWhenTheyHaveSettled) {
  ScreenLog log;
  EXPECT_EQ(log.Look(Screen({"", "menu", "help"}, 0)), "");
  EXPECT_EQ(log.Look(Screen({"", "menu", "help!"}, 0)), "menu\n");
  EXPECT_EQ(log.Look(Screen({"", "menu", "help!"}, 0)), "help!\n");
  EXPECT_EQ(log.Look(Screen({"", "menu", "help!"}, 0)), "");
}

TEST(ScreenLogTest, GraphicsHaveNoLines) {
  ScreenLog log;
  EXPECT_EQ(log.Look(Screen({"a", "b"}, 1)), "a\n");
  EXPECT_EQ(log.Look(TextScreen()), "");
  EXPECT_EQ(log.Look(Screen({"a", "b"}, 1)), "a\n");
}

}  // namespace
}  // namespace hull::container
