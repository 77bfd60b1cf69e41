// The agent's budget: it is unpacked into memory and read at every start of a machine.

#include <sys/stat.h>

#include "gtest/gtest.h"

namespace {

TEST(SizeTest, StrippedAgentIsAtMostOneMebibyte) {
  struct stat info;
  ASSERT_EQ(stat("guest-agent/hull-agent", &info), 0);
  EXPECT_LE(info.st_size, 1024 * 1024);
  EXPECT_GT(info.st_size, 0);
}

}  // namespace
