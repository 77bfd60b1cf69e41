#include "vmm/container/pc_disk.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "vmm/base/file_io.h"

namespace hull::container {
namespace {

TEST(PcDiskTest, ACopyHasTheBytesAndTheHoles) {
  std::string directory = testing::TempDir() + "/pc-disk-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  const std::string from = directory + "/from";
  const std::string to = PcDiskPath(directory);
  std::string content(3 << 20, '\0');
  content[0] = 'a';
  content[(2 << 20) + 5] = 'b';
  ASSERT_TRUE(WriteFileAtomically(from, "a", 0600).ok());
  ASSERT_EQ(truncate(from.c_str(), static_cast<off_t>(content.size())), 0);
  FILE* const file = fopen(from.c_str(), "r+");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(fseek(file, (2 << 20) + 5, SEEK_SET), 0);
  fputc('b', file);
  fclose(file);
  const absl::Status copied = CopyDisk(from, to);
  ASSERT_TRUE(copied.ok()) << copied;
  EXPECT_EQ(ReadFile(to, content.size()).value(), content);
  struct stat info;
  ASSERT_EQ(stat(to.c_str(), &info), 0);
  EXPECT_LT(info.st_blocks * 512, 1 << 20);
  EXPECT_FALSE(CopyDisk(from, to).ok()) << "it exists";
  EXPECT_FALSE(CopyDisk(directory + "/missing", directory + "/other").ok());
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace hull::container
