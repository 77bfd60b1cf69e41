#include "vmm/emulated_host/repaired_qemu.h"

#include <sys/stat.h>
#include <utime.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace hull::emulated_host {
namespace {

class ChooseQemuTest : public testing::Test {
 protected:
  ChooseQemuTest() : root_(absl::StrCat(testing::TempDir(), "/choose-qemu-XXXXXX")) {
    EXPECT_NE(mkdtemp(root_.data()), nullptr);
    for (const char* directory : {"usr", "empty", "copy/bin"}) {
      std::filesystem::create_directories(absl::StrCat(root_, "/", directory));
    }
    Program("usr/qemu", "installed");
    Program("copy/bin/qemu", "repaired");
    path_ = absl::StrCat(root_, "/empty:", root_, "/usr");
    MadeOf(absl::StrCat("9 1700000000 ", root_, "/usr/qemu\n"));
  }
  ~ChooseQemuTest() override { std::filesystem::remove_all(root_); }

  void Program(const std::string& name, const std::string& text) {
    const std::string file = absl::StrCat(root_, "/", name);
    std::ofstream(file) << text;
    EXPECT_EQ(chmod(file.c_str(), 0755), 0);
    const utimbuf times = {.actime = 1700000000, .modtime = 1700000000};
    EXPECT_EQ(utime(file.c_str(), &times), 0);
  }
  void MadeOf(const std::string& text) { std::ofstream(absl::StrCat(root_, "/copy/of")) << text; }
  std::string Choose() { return ChooseQemu("qemu", path_, absl::StrCat(root_, "/copy")); }

  std::string root_;
  std::string path_;
};

TEST_F(ChooseQemuTest, TheCopyOfTheInstalledOneIsTaken) {
  EXPECT_EQ(Choose(), absl::StrCat(root_, "/copy/bin/qemu"));
}

TEST_F(ChooseQemuTest, AfterAnUpgradeTheInstalledOneIsTaken) {
  Program("usr/qemu", "installed since");
  EXPECT_EQ(Choose(), "qemu");
}

TEST_F(ChooseQemuTest, AnotherOneEarlierInThePathIsTaken) {
  Program("empty/qemu", "installed");
  EXPECT_EQ(Choose(), "qemu");
}

TEST_F(ChooseQemuTest, WithoutACopyOrItsOriginTheInstalledOneIsTaken) {
  MadeOf("");
  EXPECT_EQ(Choose(), "qemu");
  std::filesystem::remove(absl::StrCat(root_, "/copy/of"));
  EXPECT_EQ(Choose(), "qemu");
  MadeOf(absl::StrCat("9 1700000000 ", root_, "/usr/qemu\n"));
  EXPECT_EQ(Choose(), absl::StrCat(root_, "/copy/bin/qemu"));
  std::filesystem::remove(absl::StrCat(root_, "/copy/bin/qemu"));
  EXPECT_EQ(Choose(), "qemu");
}

}  // namespace
}  // namespace hull::emulated_host
