#include "vmm/devices/block/file_backend.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "vmm/base/file_io.h"
#include "vmm/memory/guest_memory.h"

namespace hull::block {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class FileBackendTest : public testing::Test {
 protected:
  FileBackendTest() {
    std::string pattern = testing::TempDir() + "/disk-XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    path_ = directory_ + "/disk";
  }
  ~FileBackendTest() override {
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }

  void MakeFile(uint64_t size, char fill = 'x') {
    const UniqueFd fd = UniqueFd::Open(path_, O_RDWR | O_CREAT | O_TRUNC, 0600).value();
    ASSERT_TRUE(WriteFull(fd.get(), std::string(size, fill)).ok());
  }
  std::string Content() { return ReadFile(path_, 64 * kMiB).value(); }
  absl::Status OpenStatus(const FileBackend::Options& options) {
    return FileBackend::Open(path_, options).status();
  }

  const GuestMemory memory_ =
      GuestMemory::Create(std::array{GuestMemory::Range{GuestAddress{0}, 4 * kMiB}}).value();
  std::string directory_;
  std::string path_;
};

TEST_F(FileBackendTest, SaysWhatIsWrongWithADisk) {
  const auto expect = [this](absl::StatusCode code, const std::string& part,
                             const FileBackend::Options& options = {}) {
    const absl::Status status = OpenStatus(options);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_NE(status.message().find(part), absl::string_view::npos) << status;
    EXPECT_NE(status.message().find(path_), absl::string_view::npos) << status;
  };
  expect(absl::StatusCode::kNotFound, "No such file");
  MakeFile(0);
  expect(absl::StatusCode::kInvalidArgument, "is empty");
  MakeFile(513);
  expect(absl::StatusCode::kInvalidArgument, "513 bytes, which is not a multiple of 512");
  unlink(path_.c_str());
  ASSERT_EQ(mkdir(path_.c_str(), 0700), 0);
  expect(absl::StatusCode::kInvalidArgument, "neither a regular file nor a block device",
         {.read_only = true, .direct = false});
  rmdir(path_.c_str());
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  expect(absl::StatusCode::kInvalidArgument, "neither a regular file nor a block device");
}

TEST_F(FileBackendTest, TakesADescriptorThatIsOpenForWhatIsAsked) {
  MakeFile(512);
  const auto create = [this](int mode, bool read_only) {
    return FileBackend::Create(UniqueFd::Open(path_, mode).value(), "root",
                               {.read_only = read_only, .direct = false})
        .status();
  };
  EXPECT_TRUE(create(O_RDONLY, true).ok());
  EXPECT_TRUE(create(O_RDWR, true).ok());
  EXPECT_TRUE(create(O_RDWR, false).ok());
  EXPECT_EQ(create(O_RDONLY, false).message(), "disk root is not open for writing");
  EXPECT_EQ(create(O_WRONLY, true).message(), "disk root is not open for reading");
  EXPECT_EQ(create(O_WRONLY, false).message(), "disk root is not open for writing");
}

TEST_F(FileBackendTest, LocksAgainstASecondWriter) {
  MakeFile(512);
  constexpr FileBackend::Options kReadOnly{.read_only = true, .direct = false};
  {
    const auto writer = FileBackend::Open(path_, {});
    ASSERT_TRUE(writer.ok());
    EXPECT_EQ(OpenStatus({}).code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(OpenStatus(kReadOnly).code(), absl::StatusCode::kFailedPrecondition);
  }
  const auto reader = FileBackend::Open(path_, kReadOnly);
  ASSERT_TRUE(reader.ok());
  EXPECT_TRUE(OpenStatus(kReadOnly).ok()) << "read-only disks are shared";
  EXPECT_EQ(OpenStatus({}).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(FileBackendTest, AFileThatIsTruncatedLaterFailsTheRead) {
  MakeFile(4096);
  const auto disk = FileBackend::Open(path_, {});
  ASSERT_TRUE(disk.ok());
  ASSERT_EQ(truncate(path_.c_str(), 1024), 0);
  std::vector<iovec> slices = {memory_.Slice(GuestAddress{0}, 1024).value()};
  EXPECT_EQ((*disk)->Read(512, slices).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ((*disk)->size(), 4096u);
}

TEST_F(FileBackendTest, DiscardsAndZeroes) {
  MakeFile(kMiB);
  const auto disk = FileBackend::Open(path_, {});
  ASSERT_TRUE(disk.ok());
  EXPECT_TRUE((*disk)->WriteZeroes(512, 1024, false).ok());
  EXPECT_TRUE((*disk)->WriteZeroes(65536 - 512, 66 << 10, true).ok());
  EXPECT_TRUE((*disk)->Discard(512 << 10, 256 << 10).ok());
  EXPECT_TRUE((*disk)->Flush().ok());
  const std::string content = Content();
  ASSERT_EQ(content.size(), kMiB);
  for (size_t i = 0; i < 512 << 10; ++i) {
    const bool zero = (i >= 512 && i < 1536) || (i >= 65536 - 512 && i < 65536 - 512 + (66 << 10));
    ASSERT_EQ(content[i], zero ? '\0' : 'x') << i;
  }
  EXPECT_EQ(content[(768 << 10)], 'x');
}

// A memfd is a file of tmpfs, which has FALLOC_FL_PUNCH_HOLE but no FALLOC_FL_ZERO_RANGE.
TEST_F(FileBackendTest, WritesZeroesWhereTheFileSystemCannot) {
  UniqueFd file(memfd_create("disk", MFD_CLOEXEC));
  ASSERT_TRUE(WriteFull(file.get(), std::string(kMiB, 'x')).ok());
  UniqueFd copy = file.Duplicate().value();
  const auto disk = FileBackend::Create(std::move(copy), "memory", {});
  ASSERT_TRUE(disk.ok()) << disk.status();
  EXPECT_TRUE((*disk)->WriteZeroes(1024, 300 << 10, false).ok());
  std::vector<uint8_t> content(kMiB);
  ASSERT_EQ(PreadFull(file.get(), content, 0).value(), kMiB);
  for (size_t i = 0; i < kMiB; ++i) {
    ASSERT_EQ(content[i], i >= 1024 && i < 1024 + (300 << 10) ? '\0' : 'x') << i;
  }
}

// Transfers at every alignment of offset, size and memory, against a copy of what must come out.
void CheckRandomTransfers(const GuestMemory& memory, FileBackend& disk) {
  std::minstd_rand random(11);
  std::vector<uint8_t> expected(disk.size());
  std::iota(expected.begin(), expected.end(), uint8_t{0});
  ASSERT_TRUE(memory.Write(GuestAddress{0}, expected).ok());
  std::vector<iovec> all = {memory.Slice(GuestAddress{0}, expected.size()).value()};
  ASSERT_TRUE(disk.Write(0, all).ok());

  for (int i = 0; i < 300; ++i) {
    const uint64_t sectors = 1 + random() % (random() % 4 == 0 ? 400 : 20);
    const uint64_t size = sectors * 512;
    const uint64_t offset = random() % ((disk.size() - size) / 512 + 1) * 512;
    // In up to five slices of any length, at any address.
    std::vector<GuestAddress> addresses;
    std::vector<iovec> slices;
    for (uint64_t left = size, at = 2 * kMiB; left > 0;) {
      const uint64_t piece = slices.size() == 4 ? left : 1 + random() % left;
      const uint64_t aligned_piece = random() % 2 == 0 && piece > 512 ? piece & ~511ull : piece;
      at = (at + 4095) & ~4095ull;
      if (random() % 2 == 0) at += random() % 100;
      addresses.push_back(GuestAddress{at});
      slices.push_back(memory.Slice(GuestAddress{at}, aligned_piece).value());
      at += aligned_piece;
      left -= aligned_piece;
    }
    std::vector<uint8_t> bytes(size);
    const std::vector<iovec> shape = slices;  // The backend uses the span it is given.
    if (random() % 2 == 0) {
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
      CopyToSlices(bytes, shape, 0);
      ASSERT_TRUE(disk.Write(offset, slices).ok()) << i;
      std::ranges::copy(bytes, expected.begin() + static_cast<int64_t>(offset));
    } else {
      ASSERT_TRUE(disk.Read(offset, slices).ok()) << i;
      CopyFromSlices(shape, 0, bytes);
      ASSERT_TRUE(
          std::equal(bytes.begin(), bytes.end(), expected.begin() + static_cast<int64_t>(offset)))
          << i;
    }
    if (i % 10 == 0) {
      ASSERT_TRUE(disk.WriteZeroes(offset, size, i % 20 == 0).ok());
      std::fill_n(expected.begin() + static_cast<int64_t>(offset), size, 0);
    }
  }
  std::vector<uint8_t> content(disk.size());
  all = {memory.Slice(GuestAddress{0}, content.size()).value()};
  ASSERT_TRUE(disk.Read(0, all).ok());
  ASSERT_TRUE(memory.Read(GuestAddress{0}, content).ok());
  EXPECT_EQ(content, expected);
}

TEST_F(FileBackendTest, TransfersThroughTheCache) {
  MakeFile(kMiB + 512);
  const auto disk = FileBackend::Open(path_, {});
  ASSERT_TRUE(disk.ok());
  EXPECT_EQ((*disk)->block_size(), 512u);
  CheckRandomTransfers(memory_, **disk);
}

TEST_F(FileBackendTest, TransfersDirectlyAtAnyAlignment) {
  MakeFile(kMiB);
  const auto disk = FileBackend::Open(path_, {.read_only = false, .direct = true});
  if (disk.status().code() == absl::StatusCode::kInvalidArgument) {
    GTEST_SKIP() << disk.status();
  }
  ASSERT_TRUE(disk.ok()) << disk.status();
  CheckRandomTransfers(memory_, **disk);
}

TEST_F(FileBackendTest, ManySlicesTakeSeveralSystemCalls) {
  MakeFile(512 * 2048);
  const auto disk = FileBackend::Open(path_, {});
  ASSERT_TRUE(disk.ok());
  std::vector<iovec> slices;
  for (uint64_t i = 0; i < 2048; ++i) {
    // In descending order, so that no two are one.
    slices.push_back(memory_.Slice(GuestAddress{(2047 - i) * 512}, 512).value());
  }
  ASSERT_TRUE(memory_.Fill(GuestAddress{0}, 'y', 512 * 2047).ok());
  ASSERT_TRUE(memory_.Fill(GuestAddress{512 * 2047}, 'z', 512).ok());
  ASSERT_TRUE((*disk)->Write(0, slices).ok());
  const std::string content = Content();
  EXPECT_EQ(content.substr(0, 512), std::string(512, 'z'));
  EXPECT_EQ(content.substr(512), std::string(2047 * 512, 'y'));
}

// A block device whose blocks are 4 KiB, backed by a file; gone when closed. Needs privileges and a
// loop driver: an empty descriptor without.
UniqueFd LoopDevice(const std::string& path, uint64_t size) {
  const absl::StatusOr<UniqueFd> control = UniqueFd::Open("/dev/loop-control", O_RDWR);
  absl::StatusOr<UniqueFd> file = UniqueFd::Open(path, O_RDWR);
  if (!control.ok() || !file.ok()) return UniqueFd();
  for (int attempt = 0; attempt < 10; ++attempt) {  // Somebody else may take the free one.
    const int number = ioctl(control->get(), LOOP_CTL_GET_FREE);
    if (number < 0) return UniqueFd();
    absl::StatusOr<UniqueFd> loop =
        UniqueFd::Open("/dev/loop" + std::to_string(number), O_RDWR | O_EXCL);
    if (!loop.ok()) return UniqueFd();
    loop_config config = {};
    config.fd = static_cast<uint32_t>(file->get());
    config.block_size = 4096;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    config.info.lo_sizelimit = size;
    if (ioctl(loop->get(), LOOP_CONFIGURE, &config) == 0) return *std::move(loop);
    if (errno != EBUSY) return UniqueFd();
  }
  return UniqueFd();
}

TEST_F(FileBackendTest, TransfersDirectlyToABlockDeviceOfLargeBlocks) {
  MakeFile(kMiB);
  UniqueFd device = LoopDevice(path_, kMiB);
  if (!device.valid()) GTEST_SKIP() << "no loop device here";
  const auto disk =
      FileBackend::Create(std::move(device), "loop", {.read_only = false, .direct = true});
  ASSERT_TRUE(disk.ok()) << disk.status();
  EXPECT_EQ((*disk)->size(), kMiB);
  EXPECT_EQ((*disk)->block_size(), 4096u);
  CheckRandomTransfers(memory_, **disk);
  EXPECT_TRUE((*disk)->Discard(512, 8192).ok());
  EXPECT_TRUE((*disk)->Flush().ok());
}

}  // namespace
}  // namespace hull::block
