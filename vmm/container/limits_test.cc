#include "vmm/container/limits.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::container {
namespace {

constexpr uint64_t kMebi = uint64_t{1} << 20;
constexpr uint64_t kHost = uint64_t{8} << 30;

TEST(ParseSizeTest, TakesEveryUnitInEitherCase) {
  EXPECT_EQ(*ParseSize("0"), 0u);
  EXPECT_EQ(*ParseSize("512"), 512u);
  EXPECT_EQ(*ParseSize("512b"), 512u);
  EXPECT_EQ(*ParseSize("2k"), 2048u);
  EXPECT_EQ(*ParseSize("128m"), 128 * kMebi);
  EXPECT_EQ(*ParseSize("128M"), 128 * kMebi);
  EXPECT_EQ(*ParseSize("128mb"), 128 * kMebi);
  EXPECT_EQ(*ParseSize("128MiB"), 128 * kMebi);
  EXPECT_EQ(*ParseSize("1t"), uint64_t{1} << 40);
  EXPECT_EQ(*ParseSize("1p"), uint64_t{1} << 50);
}

TEST(ParseSizeTest, TakesFractions) {
  EXPECT_EQ(*ParseSize("1.5g"), 1536 * kMebi);
  EXPECT_EQ(*ParseSize("0.25k"), 256u);
  EXPECT_EQ(*ParseSize("0.1b"), 0u);
  EXPECT_EQ(*ParseSize("0.5000000000000000000000000000001m"), kMebi / 2);
}

TEST(ParseSizeTest, RefusesWhatIsNoSize) {
  for (const char* text : {"",
                           " ",
                           "m",
                           "-5m",
                           "+5m",
                           "abc",
                           "64x",
                           "1e9",
                           "1 m",
                           "1m ",
                           "1.m",
                           ".5m",
                           "1..5m",
                           "1.5.5m",
                           "64mm",
                           "64mib1",
                           "0x10",
                           "1,5g",
                           "18446744073709551616",
                           "99999999999999999999999999"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseSize(text).status())) << text;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ParseSize(absl::string_view("1\0m", 3)).status()));
}

TEST(ParseSizeTest, RefusesWhatOverflows) {
  EXPECT_EQ(*ParseSize("9223372036854775807"), (uint64_t{1} << 63) - 1);
  for (const char* text :
       {"9223372036854775808", "8192p", "18014398509481984k", "9999999999999t"}) {
    EXPECT_THAT(std::string(ParseSize(text).status().message()), testing::HasSubstr("too large"))
        << text;
  }
}

TEST(ParseSizeTest, MessagesDoNotPassControlBytesOn) {
  const std::string message(ParseSize("\x1b[2J").status().message());
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
  EXPECT_LT(ParseSize(std::string(100000, 'x')).status().message().size(), 300u);
}

TEST(ParseStorageSizeTest, HoldsTheBoundsAndWholeMebibytes) {
  EXPECT_EQ(*ParseStorageSize("64m"), kMinStorageBytes);
  EXPECT_EQ(*ParseStorageSize("4t"), kMaxStorageBytes);
  EXPECT_EQ(*ParseStorageSize("104857601"), 100 * kMebi);
  EXPECT_THAT(std::string(ParseStorageSize("63m").status().message()),
              testing::HasSubstr("at least 64m"));
  EXPECT_THAT(std::string(ParseStorageSize("4.1t").status().message()),
              testing::HasSubstr("at most 4t"));
  EXPECT_FALSE(ParseStorageSize("").ok());
  EXPECT_FALSE(ParseStorageSize("-1").ok());
}

TEST(ParseMemoryTest, HoldsTheBoundsAndWholePages) {
  EXPECT_EQ(*ParseMemory("24m", kHost), 24 * kMebi);
  EXPECT_EQ(*ParseMemory("8g", kHost), kHost);
  EXPECT_EQ(*ParseMemory("33554433", kHost), 32 * kMebi);
  EXPECT_THAT(std::string(ParseMemory("1m", kHost).status().message()),
              testing::HasSubstr("at least 24m"));
  EXPECT_THAT(std::string(ParseMemory("10t", kHost).status().message()),
              testing::HasSubstr("more memory than this host has (8192m)"));
}

TEST(ParseCpusTest, TakesNumbersInRange) {
  EXPECT_EQ(*ParseCpus("1"), (Cpus{.count = 1, .millis = 1000}));
  EXPECT_EQ(*ParseCpus("32"), (Cpus{.count = 32, .millis = 32000}));
  EXPECT_EQ(*ParseCpus("1.5"), (Cpus{.count = 2, .millis = 1500}));
  EXPECT_EQ(*ParseCpus("0.01"), (Cpus{.count = 1, .millis = 10}));
  EXPECT_EQ(*ParseCpus(".29"), (Cpus{.count = 1, .millis = 290}));
  EXPECT_EQ(*ParseCpus("2.0001"), (Cpus{.count = 2, .millis = 2000}));
  EXPECT_EQ(*ParseCpus("2.001"), (Cpus{.count = 3, .millis = 2001}));
  for (const char* text : {"", ".", "0", "0.0", "0.009", "33", "32.001", "-1", "+1", "1e0", "nan",
                           "inf", "0x1", "1.2.3", " 1", "1 ", "two", "99999999999999999999"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseCpus(text).status())) << text;
  }
}

}  // namespace
}  // namespace hull::container
