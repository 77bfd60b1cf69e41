#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <limits>
#include <new>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/base/checked.h"
#include "vmm/base/event_fd.h"
#include "vmm/base/file_io.h"
#include "vmm/base/log_throttle.h"
#include "vmm/base/out_of_memory.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/scoped_mmap.h"
#include "vmm/base/unique_fd.h"
#include "vmm/base/worker_thread.h"

namespace hull {
namespace {

std::string TempPath(const char* name) { return std::string(getenv("TEST_TMPDIR")) + "/" + name; }

TEST(PosixErrorTest, NamesTheOperationAndTheReason) {
  const absl::Status status = PosixError(ENOENT, "open \"x\"");
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(status.message(), "open \"x\": No such file or directory");
  EXPECT_EQ(Annotate(status, "image \"a\"").message(),
            "image \"a\": open \"x\": No such file or directory");
}

TEST(UniqueFdTest, ClosesOnceAndMoves) {
  auto fd = UniqueFd::Open("/dev/null", O_RDONLY);
  ASSERT_TRUE(fd.ok());
  const int raw = fd->get();
  EXPECT_EQ(fcntl(raw, F_GETFD), FD_CLOEXEC);
  {
    const UniqueFd moved = *std::move(fd);
    EXPECT_EQ(moved.get(), raw);
  }
  EXPECT_EQ(fcntl(raw, F_GETFD), -1);
  EXPECT_TRUE(absl::IsNotFound(UniqueFd::Open("/does/not/exist", O_RDONLY).status()));
}

TEST(EventFdTest, CountsAndDrains) {
  auto event = EventFd::Create();
  ASSERT_TRUE(event.ok());
  EXPECT_EQ(event->Drain(), 0u);
  event->Signal();
  event->Signal();
  EXPECT_EQ(event->Drain(), 2u);
  EXPECT_EQ(event->Drain(), 0u);
}

TEST(ScopedMmapTest, MapsAndReportsFailure) {
  auto map = ScopedMmap::Map(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  ASSERT_TRUE(map.ok());
  map->data()[4095] = 7;
  EXPECT_EQ(map->data()[4095], 7);
  EXPECT_FALSE(ScopedMmap::Map(4096, PROT_READ, MAP_PRIVATE, /*fd=*/-1).ok());
}

TEST(ScopedMmapTest, MapsAligned) {
  constexpr size_t kAlignment = size_t{2} << 20;
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS;
  const auto first = ScopedMmap::MapAligned(3 * 4096, kAlignment, PROT_READ | PROT_WRITE, kFlags);
  const auto second = ScopedMmap::MapAligned(4096, kAlignment, PROT_READ | PROT_WRITE, kFlags);
  for (const auto* map : {&first, &second}) {
    ASSERT_TRUE(map->ok()) << map->status();
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*map)->data()) % kAlignment, 0u);
    (*map)->data()[(*map)->size() - 1] = 1;
  }
  EXPECT_EQ(first->size(), 3u * 4096);
  // Nothing is left mapped behind it.
  EXPECT_NE(msync(first->data() + first->size(), 4096, MS_ASYNC), 0);
  EXPECT_FALSE(ScopedMmap::MapAligned(SIZE_MAX, kAlignment, PROT_READ, kFlags).ok());
}

TEST(CheckedTest, SaysWhenItOverflows) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(CheckedAdd<uint64_t>(1, 2), 3u);
  EXPECT_EQ(CheckedAdd<uint64_t>(kMax, 1), std::nullopt);
  EXPECT_EQ(CheckedMul<uint64_t>(kMax, 2), std::nullopt);
  EXPECT_EQ(CheckedAlignUp<uint64_t>(4097, 4096), 8192u);
  EXPECT_EQ(CheckedAlignUp<uint64_t>(kMax, 4096), std::nullopt);
  EXPECT_TRUE(RangeFits<uint64_t>(4, 4, 8));
  EXPECT_FALSE(RangeFits<uint64_t>(5, 4, 8));
  EXPECT_FALSE(RangeFits<uint64_t>(8, kMax, 8));
}

TEST(FileIoTest, ReadsUpToTheLimit) {
  const std::string path = TempPath("read");
  ASSERT_TRUE(WriteFileAtomically(path, std::string(100000, 'x'), 0600).ok());
  auto content = ReadFile(path, 100000);
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_EQ(content->size(), 100000u);
  EXPECT_TRUE(absl::IsOutOfRange(ReadFile(path, 99999).status()));
}

TEST(FileIoTest, ReplacesAtomicallyAndLeavesNothingOnFailure) {
  const std::string path = TempPath("replace");
  ASSERT_TRUE(WriteFileAtomically(path, "old", 0640).ok());
  ASSERT_TRUE(WriteFileAtomically(path, "new", 0640).ok());
  EXPECT_EQ(*ReadFile(path, 10), "new");
  struct stat st;
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777u, 0640u & ~static_cast<unsigned>(umask(umask(0)))) << "mode";
  EXPECT_FALSE(WriteFileAtomically(TempPath("no/such/dir/file"), "x", 0600).ok());
}

TEST(WorkerThreadTest, StopsAndJoins) {
  bool stopped = false;
  {
    auto worker = WorkerThread::Start("a-rather-long-thread-name", [&](const EventFd& stop) {
      pollfd p = {stop.fd(), POLLIN, 0};
      poll(&p, 1, 10000);
      stopped = stop.Drain() > 0;
    });
    ASSERT_TRUE(worker.ok());
  }
  EXPECT_TRUE(stopped);
}

TEST(LogThrottleTest, AllowsThenCounts) {
  LogThrottle throttle(2);
  EXPECT_TRUE(throttle.Allow());
  EXPECT_TRUE(throttle.Allow());
  EXPECT_FALSE(throttle.Allow());
  EXPECT_EQ(throttle.suppressed(), 1u);
}

TEST(OutOfMemoryTest, TakesAFileAway) {
  const std::string path = testing::TempDir() + "/doomed";
  EXPECT_TRUE(WriteFileAtomically(path, "x", 0600).ok());
  EXPECT_EXIT(
      {
        ExitWhenOutOfMemory("prog: no memory\n", 65);
        RemoveWhenOutOfMemory(path.c_str());
        std::get_new_handler()();
      },
      testing::ExitedWithCode(65), "");
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

TEST(OutOfMemoryTest, EndsWithItsLastWordsAndStatus) {
  EXPECT_EXIT(
      {
        ExitWhenOutOfMemory("prog: no memory\n", 65);
        // What operator new calls; the sanitizers have words of their own for one that fails.
        std::get_new_handler()();
      },
      testing::ExitedWithCode(65), "prog: no memory");
}

}  // namespace
}  // namespace hull
