#include "vmm/container/pc_terminal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/container/keys.h"

namespace hull::container {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TextScreen Screen(const std::vector<std::string>& rows, uint32_t columns, uint32_t cursor_row,
                  uint32_t cursor_column) {
  TextScreen screen;
  screen.columns = columns;
  screen.rows = static_cast<uint32_t>(rows.size());
  screen.cursor_shown = true;
  screen.cursor_column = cursor_column;
  screen.cursor_row = cursor_row;
  for (const std::string& row : rows) {
    for (uint32_t i = 0; i < columns; ++i) {
      screen.cells.push_back(
          {.character = static_cast<uint8_t>(i < row.size() ? row[i] : ' '), .attribute = 7});
    }
  }
  return screen;
}

TEST(ScreenPainterTest, TextWithColoursAndCursor) {
  ScreenPainter painter("the hint", "graphics");
  EXPECT_THAT(painter.Enter(), HasSubstr("\x1b[?1049h"));
  TextScreen screen = Screen({"ab", "c"}, 2, 1, 1);
  screen.cells[0].attribute = 0x1e;  // yellow on blue
  EXPECT_EQ(painter.Paint(screen, {.rows = 3, .columns = 10}),
            "\x1b[0m\x1b[2J\x1b[3;1H\x1b[7mthe hint"
            "\x1b[1;1H\x1b[0;93;44ma\x1b[0;37;40mb"
            "\x1b[2;1Hc "
            "\x1b[2;2H\x1b[?25h");
  EXPECT_EQ(painter.Paint(screen, {.rows = 3, .columns = 10}), "");
  // Only what has changed.
  screen.cells[3].character = 'd';
  EXPECT_EQ(painter.Paint(screen, {.rows = 3, .columns = 10}),
            "\x1b[2;2H\x1b[0;37;40md\x1b[2;2H\x1b[?25h");
  screen.cursor_column = 0;
  EXPECT_EQ(painter.Paint(screen, {.rows = 3, .columns = 10}), "\x1b[2;1H\x1b[?25h");
  screen.cursor_shown = false;
  EXPECT_EQ(painter.Paint(screen, {.rows = 3, .columns = 10}), "\x1b[?25l");
  EXPECT_THAT(ScreenPainter::Leave(), HasSubstr("\x1b[?1049l"));
}

TEST(ScreenPainterTest, ASmallTerminalShowsWhereTheCursorIs) {
  ScreenPainter painter("hint", "graphics");
  const std::vector<std::string> rows = {"one", "two", "three", "four"};
  std::string out = painter.Paint(Screen(rows, 5, 0, 0), {.rows = 2, .columns = 3});
  EXPECT_THAT(out, HasSubstr("one"));
  EXPECT_THAT(out, HasSubstr("two"));
  EXPECT_THAT(out, Not(HasSubstr("hint")));
  out = painter.Paint(Screen(rows, 5, 3, 1), {.rows = 2, .columns = 3});
  EXPECT_THAT(out, HasSubstr("\x1b[2;2H\x1b[?25h"));
  EXPECT_THAT(out, HasSubstr("fou"));
  EXPECT_THAT(out, Not(HasSubstr("four")));
  // A cursor beyond the right edge is not shown.
  EXPECT_THAT(painter.Paint(Screen(rows, 5, 3, 4), {.rows = 2, .columns = 3}),
              HasSubstr("\x1b[?25l"));
  // Another size of the terminal or of the screen is drawn anew.
  EXPECT_THAT(painter.Paint(Screen(rows, 5, 3, 1), {.rows = 4, .columns = 5}),
              HasSubstr("\x1b[2J"));
  EXPECT_THAT(painter.Paint(Screen({"x"}, 1, 0, 0), {.rows = 4, .columns = 5}),
              HasSubstr("\x1b[2J"));
}

TEST(ScreenPainterTest, GraphicsAreANotice) {
  ScreenPainter painter("hint", "it shows graphics");
  EXPECT_THAT(painter.Paint(TextScreen(), {}), HasSubstr("it shows graphics"));
  EXPECT_EQ(painter.Paint(TextScreen(), {}), "");
  EXPECT_THAT(painter.Paint(Screen({"x"}, 1, 0, 0), {}), HasSubstr("\x1b[2J"));
}

TEST(ScreenPainterTest, NothingOfTheGuestIsAControlCharacter) {
  TextScreen screen = Screen(std::vector<std::string>(16), 16, 0, 0);
  for (size_t i = 0; i < 256; ++i) screen.cells[i].character = static_cast<uint8_t>(i);
  ScreenPainter painter("", "");
  std::string out = painter.Paint(screen, {});
  for (const char c : out) EXPECT_TRUE(c == '\x1b' || static_cast<uint8_t>(c) >= 0x20);
  // Each escape begins one of the sequences above.
  for (size_t at = out.find('\x1b'); at != std::string::npos; at = out.find('\x1b', at + 1)) {
    EXPECT_EQ(out[at + 1], '[');
  }
}

std::string Keys(absl::string_view bytes) {
  TypedKeys typed;
  std::string keys = typed.Feed(bytes);
  return keys + typed.Flush();
}

TEST(TypedKeysTest, WhatTerminalsSend) {
  EXPECT_EQ(Keys("dir\r"), "dir{enter}");
  EXPECT_EQ(Keys("\x03\x7f\t"), "{ctrl+c}{backspace}{tab}");
  EXPECT_EQ(Keys("\x1b[A\x1bOB\x1b[H"), "{up}{down}{home}");
  EXPECT_EQ(Keys("\x1bOP\x1b[15~\x1b[24~\x1b[[B"), "{f1}{f5}{f12}{f2}");
  EXPECT_EQ(Keys("\x1b[1;3P\x1b[1;5C\x1b[3;2~"), "{alt+f1}{ctrl+right}{shift+del}");
  EXPECT_EQ(Keys("\x1bx\x1b\x1b"), "{alt+x}{alt+esc}");
  EXPECT_EQ(Keys("\x1b[Z{}"), "{shift+tab}{{}{}}");
  EXPECT_EQ(Keys("\x1b"), "{esc}");
  EXPECT_EQ(Keys("\x1b["), "{alt+[}");
  // What is no key.
  EXPECT_EQ(Keys("\xc3\xa4\x1b[99~\x1b[?1c"), "");
}

TEST(TypedKeysTest, ASequenceMayComeInPieces) {
  TypedKeys typed;
  EXPECT_EQ(typed.Feed("a\x1b"), "a");
  EXPECT_TRUE(typed.pending());
  EXPECT_EQ(typed.Feed("[1;"), "");
  EXPECT_EQ(typed.Feed("5Ab"), "{ctrl+up}b");
  EXPECT_FALSE(typed.pending());
  // One without an end does not grow.
  EXPECT_EQ(typed.Feed("\x1b[" + std::string(100, '1')), std::string(85, '1'));
}

TEST(TypedKeysTest, EverythingIsUnderstoodByTheKeyboard) {
  for (int first = 0; first < 256; ++first) {
    for (const char* prefix : {"", "\x1b", "\x1b[", "\x1bO", "\x1b[1;8"}) {
      const std::string keys = Keys(std::string(prefix) + static_cast<char>(first));
      EXPECT_TRUE(ParseKeys(keys).ok()) << first << " " << keys;
    }
  }
}

}  // namespace
}  // namespace hull::container
