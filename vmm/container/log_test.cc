#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/base/file_io.h"
#include "vmm/container/log_format.h"
#include "vmm/container/log_reader.h"
#include "vmm/container/log_writer.h"

namespace hull::container {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr int64_t kNow = 1'795'559'040'123'456'789;

class LogTest : public testing::Test {
 protected:
  LogTest() {
    char directory[] = "/tmp/hull-log-XXXXXX";
    directory_ = mkdtemp(directory);
  }
  ~LogTest() override { EXPECT_EQ(system(("rm -r " + directory_).c_str()), 0); }

  static std::vector<std::string> Read(LogReader* reader) {
    std::vector<std::string> entries;
    EXPECT_TRUE(reader
                    ->Read([&entries](const LogEntry& entry) {
                      const char* const streams[] = {"out", "err", "dropped"};
                      entries.push_back(absl::StrCat(streams[static_cast<int>(entry.stream)],
                                                     entry.ends_line ? " F " : " P ",
                                                     entry.content));
                    })
                    .ok());
    return entries;
  }

  std::string directory_;
};

TEST(LogFormatTest, TimesAreThoseOfTheCalendar) {
  for (const int64_t ns : {int64_t{0}, kNow, int64_t{951'782'400'000'000'001},  // 2000-02-29
                           int64_t{4'107'542'400'000'000'000},                  // 2100-03-01
                           int64_t{9'214'646'399'999'999'999}}) {               // the last of 2261
    std::string text;
    AppendLogTime(ns, &text);
    EXPECT_EQ(text, absl::FormatTime("%Y-%m-%dT%H:%M:%E9SZ", absl::FromUnixNanos(ns),
                                     absl::UTCTimeZone()));
    const absl::StatusOr<LogEntry> entry = ParseLogEntry(text + " stdout F ");
    ASSERT_TRUE(entry.ok()) << text;
    EXPECT_EQ(entry->unix_ns, ns);
  }
}

TEST(LogFormatTest, WhatIsNoEntryIsRefused) {
  const std::string time = "2026-11-24T22:24:00.123456789Z";
  EXPECT_TRUE(ParseLogEntry(time + " stderr P a b").ok());
  const std::string lines[] = {std::string(),
                               time,
                               time + " ",
                               time + " stdout",
                               time + " stdout F",
                               time + " stdout X a",
                               time + " stdin F a",
                               time + "stdout F a",
                               time + " dropped F ",
                               time + " dropped F -1",
                               "2026-11-24T22:24:00.12345678Z stdout F a",
                               "2026-13-24T22:24:00.123456789Z stdout F a",
                               "1969-11-24T22:24:00.123456789Z stdout F a",
                               "2026-11-24T22:60:00.123456789Z stdout F a"};
  for (const std::string& line : lines) {
    EXPECT_FALSE(ParseLogEntry(line).ok()) << line;
  }
}

TEST_F(LogTest, LinesAndPartsOfLines) {
  LogWriter writer(directory_, kMinLogMaxBytes);
  LogReader reader(directory_);
  EXPECT_THAT(Read(&reader), IsEmpty());  // no log yet
  EXPECT_NE(access(LogPath(directory_, 0).c_str(), F_OK), 0);
  writer.Write(LogStream::kStandardOutput, "one\ntwo", kNow);
  writer.Write(LogStream::kStandardError, "oops\n", kNow);
  writer.Write(LogStream::kStandardOutput, "\n\n", kNow + 1);
  EXPECT_THAT(Read(&reader),
              ElementsAre("out F one", "out P two", "err F oops", "out F ", "out F "));
  EXPECT_THAT(Read(&reader), IsEmpty());
  writer.Write(LogStream::kStandardOutput, std::string(kMaxLogContentBytes + 1, 'x') + "\n", kNow);
  EXPECT_THAT(Read(&reader),
              ElementsAre("out P " + std::string(kMaxLogContentBytes, 'x'), "out F x"));
}

TEST_F(LogTest, RotationIsBoundedAndFollowed) {
  LogWriter writer(directory_, kMinLogMaxBytes);
  LogReader follower(directory_);
  std::vector<std::string> expected;
  std::vector<std::string> followed;
  for (int i = 0; i < 10000; ++i) {
    expected.push_back(absl::StrCat("out F ", i));
    writer.Write(LogStream::kStandardOutput, absl::StrCat(i, "\n"), kNow);
    if (i % 100 != 0) continue;
    const std::vector<std::string> more = Read(&follower);
    followed.insert(followed.end(), more.begin(), more.end());
  }
  const std::vector<std::string> more = Read(&follower);
  followed.insert(followed.end(), more.begin(), more.end());
  EXPECT_EQ(followed, expected);

  for (int age = 0; age < kLogFiles; ++age) {
    struct stat info;
    ASSERT_EQ(stat(LogPath(directory_, age).c_str(), &info), 0);
    EXPECT_LE(info.st_size, static_cast<off_t>(kMinLogMaxBytes));
  }
  EXPECT_NE(access(LogPath(directory_, kLogFiles).c_str(), F_OK), 0);

  // Whoever comes now sees the end of it, whole entries only.
  LogReader late(directory_);
  const std::vector<std::string> kept = Read(&late);
  ASSERT_GT(kept.size(), 1000u);
  EXPECT_TRUE(std::equal(kept.rbegin(), kept.rend(), expected.rbegin()));
}

TEST_F(LogTest, AnotherRunGoesOnAfterAnEntryThatACrashCutOff) {
  ASSERT_TRUE(
      WriteFileAtomically(LogPath(directory_, 0), "2026-11-24T22:24:00.123456789Z std", 0600).ok());
  LogWriter writer(directory_, kMinLogMaxBytes);
  writer.Write(LogStream::kStandardOutput, "new\n", kNow);
  LogReader reader(directory_);
  EXPECT_THAT(Read(&reader), ElementsAre("out F new"));
}

TEST_F(LogTest, WhatCannotBeWrittenIsCountedAndTold) {
  // A limit of this process's stands in for a full disk: writes beyond it are cut, then fail.
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlim_t hard = limit.rlim_max;
    limit.rlim_cur = 1000;
    setrlimit(RLIMIT_FSIZE, &limit);
    LogWriter writer(directory_, kMinLogMaxBytes);
    writer.Write(LogStream::kStandardOutput, "before\n", kNow);
    writer.Write(LogStream::kStandardOutput, std::string(2000, 'x') + "\n", kNow);
    writer.Write(LogStream::kStandardError, std::string(2000, 'y') + "\n" + std::string(2000, 'z'),
                 kNow);
    const bool counted = writer.dropped() == 3;
    limit.rlim_cur = hard;
    setrlimit(RLIMIT_FSIZE, &limit);
    writer.Write(LogStream::kStandardOutput, "after\n", kNow);
    _exit(counted && writer.dropped() == 0 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  LogReader reader(directory_);
  EXPECT_THAT(Read(&reader), ElementsAre("out F before", "dropped F 3", "out F after"));
}

TEST_F(LogTest, ALogThatCannotBeOpenedLosesItsEntriesAndNothingElse) {
  LogWriter writer(directory_ + "/missing", kMinLogMaxBytes);
  writer.Write(LogStream::kStandardOutput, "a\nb\n", kNow);
  EXPECT_EQ(writer.dropped(), 2u);
  ASSERT_EQ(mkdir((directory_ + "/missing").c_str(), 0700), 0);
  writer.Close();
  LogReader reader(directory_ + "/missing");
  EXPECT_THAT(Read(&reader), ElementsAre("dropped F 2"));
}

TEST_F(LogTest, LinesThatAreNoEntriesArePassedOver) {
  std::string good;
  AppendLogEntry({.unix_ns = kNow, .content = "good"}, &good);
  ASSERT_TRUE(WriteFileAtomically(
                  LogPath(directory_, 0),
                  "nonsense\n" + std::string(1 << 20, '\xff') + "\n" + good + good.substr(0, 20),
                  0600)
                  .ok());
  LogReader reader(directory_);
  EXPECT_THAT(Read(&reader), ElementsAre("out F good"));
}

}  // namespace
}  // namespace hull::container
