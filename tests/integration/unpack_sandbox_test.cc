// hull-unpack in its sandbox: one that is compromised already (escaping_unpack.cc), and the real
// one on a host that has no sandbox to offer.

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "images/oci/testing.h"
#include "images/store.h"
#include "tests/integration/vmm_process.h"
#include "vmm/base/file_io.h"
#include "vmm/sandbox/failing_call.h"

namespace hull {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kLeastAttempts = 60;

class UnpackSandboxTest : public testing::Test {
 protected:
  UnpackSandboxTest() {
    images::testing::TestLayout layout;
    layout.AddImage({images::testing::MakeTar({{.path = "file", .data = "content"}})}, "image:1");
    layout.WriteDirectory(directory_.Path("layout"));
  }
  absl::Status Load(const std::string& program) const {
    return images::Store(directory_.Path("images"))
        .Load(directory_.Path("layout"),
              {.unpack_program = {.path = DataFile(program),
                                  .user_claims = directory_.Path("users.lock")},
               .name = {},
               .progress = {}})
        .status();
  }
  // With the system call `number` failing with `error` as on a host that lacks something.
  std::string ErrorWithout(uint32_t number, uint32_t error) const {
    const pid_t pid = fork();
    if (pid == 0) {
      if (!sandbox::MakeCallFail(number, error)) _exit(1);
      const absl::Status status = Load("images/hull-unpack");
      _exit(WriteFileAtomically(directory_.Path("error"), status.ToString(), 0600).ok() ? 0 : 1);
    }
    int status = 1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    return ReadFile(directory_.Path("error"), 65536).value();
  }

  const TemporaryDirectory directory_;
};

TEST_F(UnpackSandboxTest, ACompromisedUnpackerDoesNotGetOut) {
  // What it says is on our standard error.
  const std::string said_path = directory_.Path("said");
  const int before = dup(STDERR_FILENO);
  const int said = open(said_path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(dup2(said, STDERR_FILENO), 0);
  const absl::Status loaded = Load("tests/integration/escaping_unpack");
  dup2(before, STDERR_FILENO);
  close(before);
  close(said);

  // It goes on to do its work, so what it tried did not just break it.
  const std::string text = ReadFile(said_path, 1 << 20).value();
  ASSERT_TRUE(loaded.ok()) << loaded << text;
  EXPECT_THAT(text, Not(HasSubstr("ESCAPED")));
  std::smatch match;
  ASSERT_TRUE(std::regex_search(
      text, match, std::regex("escape-proof unpack: ([0-9]+) attempts, ([0-9]+) escaped\n")))
      << text;
  EXPECT_GE(std::stoi(match[1]), kLeastAttempts);
  EXPECT_EQ(match[2], "0");
}

TEST_F(UnpackSandboxTest, AHostWithoutASandboxUnpacksNothingAndSaysWhy) {
  EXPECT_THAT(ErrorWithout(SYS_unshare, EPERM), HasSubstr("jail: make namespaces of its own"));
  EXPECT_THAT(ErrorWithout(SYS_clone, ENOSPC), HasSubstr("jail: make a process in namespaces"));
  EXPECT_THAT(ErrorWithout(SYS_pivot_root, EINVAL), HasSubstr("jail: change to the empty root"));
  const absl::StatusOr<std::vector<images::ImageInfo>> images =
      images::Store(directory_.Path("images")).List();
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_THAT(*images, testing::IsEmpty());
}

}  // namespace
}  // namespace hull
