#include "vmm/container/signals.h"

#include <signal.h>

#include "gtest/gtest.h"

namespace hull::container {
namespace {

TEST(SignalsTest, NamesAndNumbers) {
  for (const char* text : {"TERM", "SIGTERM", "term", "SigTerm", "15"}) {
    EXPECT_EQ(ParseSignal(text).value_or(0), static_cast<uint32_t>(SIGTERM)) << text;
  }
  EXPECT_EQ(ParseSignal("RTMAX").value_or(0), 64u);
  EXPECT_EQ(ParseSignal("64").value_or(0), 64u);
  for (const char* text : {"", "0", "65", "-1", "SIG", "TERMINATE", "SIGSIGTERM", "15 x"}) {
    EXPECT_FALSE(ParseSignal(text).ok()) << text;
  }
}

TEST(SignalsTest, Seconds) {
  EXPECT_EQ(ParseSeconds("0").value_or(1), 0u);
  EXPECT_EQ(ParseSeconds("3600").value_or(0), 3600u);
  for (const char* text : {"", "-1", "1.5", "10s", "99999999999"}) {
    EXPECT_FALSE(ParseSeconds(text).ok()) << text;
  }
}

}  // namespace
}  // namespace hull::container
