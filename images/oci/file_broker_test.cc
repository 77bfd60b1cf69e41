#include "images/oci/file_broker.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "absl/status/status.h"

namespace hull::images {
namespace {

using ::testing::HasSubstr;

class FileBrokerTest : public ::testing::Test {
 protected:
  FileBrokerTest() {
    std::string pattern = ::testing::TempDir() + "/broker-XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
    std::filesystem::create_directories(path_ + "/layout/blobs/sha256");
    std::ofstream(path_ + "/secret") << "secret";
    std::ofstream(path_ + "/layout/blobs/sha256/aa") << "blob";
    directory_.Reset(open((path_ + "/layout").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    reader_.Reset(ends[0]);
    opener_.Reset(ends[1]);
    thread_ = std::thread([this] {
      served_ = ServeFiles(opener_.get(), directory_.get());
      opener_.Reset();
    });
  }
  ~FileBrokerTest() override {
    End().IgnoreError();
    std::filesystem::remove_all(path_);
  }
  absl::Status End() {
    reader_.Reset();
    if (thread_.joinable()) thread_.join();
    return served_;
  }
  std::string Error(const std::string& path) {
    return std::string(RequestFile(reader_.get(), path).status().message());
  }

  std::string path_;
  UniqueFd directory_;
  UniqueFd reader_;
  UniqueFd opener_;
  std::thread thread_;
  absl::Status served_;
};

TEST_F(FileBrokerTest, HandsOverAFile) {
  const absl::StatusOr<UniqueFd> file = RequestFile(reader_.get(), "blobs/sha256/aa");
  ASSERT_TRUE(file.ok()) << file.status();
  char text[5] = {};
  EXPECT_EQ(read(file->get(), text, 4), 4);
  EXPECT_STREQ(text, "blob");
  // It is for reading only.
  EXPECT_LT(write(file->get(), "x", 1), 0);
  EXPECT_TRUE(End().ok());
}

TEST_F(FileBrokerTest, NothingOutsideIsReached) {
  ASSERT_EQ(symlink("../secret", (path_ + "/layout/link").c_str()), 0);
  ASSERT_EQ(symlink("..", (path_ + "/layout/up").c_str()), 0);
  ASSERT_EQ(symlink("blobs/sha256/aa", (path_ + "/layout/inside").c_str()), 0);
  for (const char* path : {"../secret", "/etc/passwd", "link", "up/secret", "blobs/../../secret"}) {
    EXPECT_THAT(Error(path), HasSubstr("leads out of the image layout")) << path;
  }
  EXPECT_TRUE(RequestFile(reader_.get(), "inside").ok());
}

TEST_F(FileBrokerTest, OnlyRegularFiles) {
  ASSERT_EQ(mkfifo((path_ + "/layout/fifo").c_str(), 0600), 0);
  EXPECT_THAT(Error("fifo"), HasSubstr("not a regular file"));
  EXPECT_THAT(Error("blobs"), HasSubstr("not a regular file"));
  EXPECT_TRUE(absl::IsNotFound(RequestFile(reader_.get(), "none").status()));
}

TEST_F(FileBrokerTest, WhatIsNoRequestEndsTheService) {
  EXPECT_FALSE(RequestFile(reader_.get(), std::string("a\0b", 3)).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(End()));
}

TEST_F(FileBrokerTest, NeitherMayARequestBeLong) {
  EXPECT_FALSE(RequestFile(reader_.get(), std::string(kMaxBrokerPath + 1, 'a')).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(End()));
}

TEST_F(FileBrokerTest, NorBringADescriptor) {
  char byte = 'a';
  iovec slice = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header = {};
  header.msg_iov = &slice;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  cmsghdr* const extra = CMSG_FIRSTHDR(&header);
  extra->cmsg_level = SOL_SOCKET;
  extra->cmsg_type = SCM_RIGHTS;
  extra->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = directory_.get();
  memcpy(CMSG_DATA(extra), &fd, sizeof(fd));
  ASSERT_EQ(sendmsg(reader_.get(), &header, 0), 1);
  EXPECT_TRUE(absl::IsInvalidArgument(End()));
}

}  // namespace
}  // namespace hull::images
