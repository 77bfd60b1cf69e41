#include "guest-agent/proc_text.h"

#include "gtest/gtest.h"

namespace hull::agent {
namespace {

TEST(ProcTextTest, ProcessStat) {
  const auto stat = ParseProcessStat(
      "42 (sh) S 1 42 42 34816 42 4194304 100 200 0 0 7 8 9 10 20 0 3 0 1234 5 6\n");
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->name, "sh");
  EXPECT_EQ(stat->state, 'S');
  EXPECT_EQ(stat->terminal, 34816u);
  EXPECT_EQ(stat->cpu_ticks, 15u);
  EXPECT_EQ(stat->threads, 3u);
  EXPECT_EQ(stat->start_ticks, 1234u);
}

TEST(ProcTextTest, ANameMayLookLikeTheRest) {
  const auto stat =
      ParseProcessStat("42 (x) Z 9 (\n) R 1 42 42 0 42 0 0 0 0 0 7 8 9 10 20 0 1 0 5 5 6\n");
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->name, "x) Z 9 (\n");
  EXPECT_EQ(stat->state, 'R');
  EXPECT_EQ(stat->start_ticks, 5u);
}

TEST(ProcTextTest, WhatIsNoStat) {
  for (const char* text : {"", "42", "42 (sh", "42 )sh(", "42 (sh)", "42 (sh) Sleeping 1"}) {
    EXPECT_FALSE(ParseProcessStat(text)) << text;
  }
}

TEST(ProcTextTest, ProcessStatus) {
  const auto status =
      ParseProcessStatus("Name:\tNSpid:\\n\nPPid:\t17\nUid:\t1\t1000\t3\t4\nNSpid:\t42\t7\t1\n");
  ASSERT_TRUE(status);
  EXPECT_EQ(status->parent_pid, 17u);
  EXPECT_EQ(status->uid, 1000u);
  EXPECT_EQ(status->inner_pid, 7u);
  const auto own = ParseProcessStatus("PPid:\t0\nUid:\t0\t0\t0\t0\nNSpid:\t1\n");
  ASSERT_TRUE(own);
  EXPECT_EQ(own->inner_pid, 0u);
  EXPECT_FALSE(ParseProcessStatus("PPid:\t0\nUid:\t0\t0\t0\t0\n"));
}

TEST(ProcTextTest, Memory) {
  constexpr char kText[] =
      "MemTotal:         126976 kB\nMemFree:            1000 kB\nMemAvailable:    90000 kB\n";
  EXPECT_EQ(MemoryBytes(kText, "MemTotal"), 126976u * 1024);
  EXPECT_EQ(MemoryBytes(kText, "MemAvailable"), 90000u * 1024);
  EXPECT_EQ(MemoryBytes(kText, "MemF"), 0u);
  EXPECT_EQ(MemoryBytes(kText, "Cached"), 0u);
}

TEST(ProcTextTest, Cpu) {
  const CpuTimes times = ParseCpuTimes(
      "cpu  1 20 300 4000 5000 6 7 8000 9000 0\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nctxt 7\n");
  EXPECT_EQ(times.cpus, 2u);
  EXPECT_EQ(times.busy_ticks, 1u + 20 + 300 + 6 + 7);
}

TEST(ProcTextTest, DisksButNotTheirPartitions) {
  const DiskCounts counts = ParseDiskCounts(
      " 254       0 vda 10 1 80 5 3 9 24 2 0 7 7\n"
      " 254       1 vda1 100 1 80 5 3 9 24 2 0 7 7\n"
      " 254      16 vdb 1 0 2 0 4 0 8 0 0 0 0\n"
      "   7       0 loop0 9 9 9 9 9 9 9 9 9 9 9\n");
  EXPECT_EQ(counts.reads, 11u);
  EXPECT_EQ(counts.read_bytes, 82u * 512);
  EXPECT_EQ(counts.writes, 7u);
  EXPECT_EQ(counts.written_bytes, 32u * 512);
}

}  // namespace
}  // namespace hull::agent
