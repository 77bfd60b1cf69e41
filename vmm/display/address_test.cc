#include "vmm/display/address.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hull::display {
namespace {

using ::testing::HasSubstr;

TEST(AddressTest, Parses) {
  EXPECT_EQ(ParseDisplayFlag("vnc").value(), Address{});
  EXPECT_EQ(ParseDisplayFlag("vnc=0.0.0.0:5901").value(),
            (Address{.host = "0.0.0.0", .port = 5901}));
  EXPECT_EQ(ParseDisplayFlag("vnc=localhost:1").value(), (Address{.host = "127.0.0.1", .port = 1}));
  const Address v6 = ParseDisplayFlag("vnc=[::1]:65535").value();
  EXPECT_EQ(v6, (Address{.host = "::1", .port = 65535}));
  EXPECT_EQ(AddressText(v6), "[::1]:65535");
  EXPECT_EQ(AddressText({.host = "127.0.0.1", .port = 5900}), "127.0.0.1:5900");
}

TEST(AddressTest, AUnixSocketIsItsUsersAlone) {
  // A test's own directory has too long a name for a socket's address.
  char directory[] = "/tmp/hull-display-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  const std::string path = std::string(directory) + "/socket";
  const absl::StatusOr<Address> parsed = ParseDisplayFlag("vnc=" + path);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  Address address = *parsed;
  EXPECT_EQ(AddressText(address), path);
  EXPECT_TRUE(IsLoopback(address));
  absl::StatusOr<UniqueFd> socket = Listen(&address);
  ASSERT_TRUE(socket.ok()) << socket.status();
  struct stat made;
  ASSERT_EQ(lstat(path.c_str(), &made), 0);
  EXPECT_TRUE(S_ISSOCK(made.st_mode));
  EXPECT_EQ(made.st_mode & 0777, 0600u);
  EXPECT_TRUE(absl::IsAlreadyExists(Listen(&address).status()));
  // Nobody listens there any more.
  socket->Reset();
  EXPECT_TRUE(Listen(&address).ok());
  // What is no socket stays.
  ASSERT_EQ(unlink(path.c_str()), 0);
  ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  EXPECT_TRUE(absl::IsAlreadyExists(Listen(&address).status()));
  EXPECT_EQ(rmdir(path.c_str()), 0);
  EXPECT_EQ(rmdir(directory), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(ParseDisplayFlag("vnc=/" + std::string(107, 'x')).status()));
}

TEST(AddressTest, RefusesWhatIsNone) {
  for (const char* text : {"", "x11", "vnc=", "vnc=127.0.0.1", "vnc=127.0.0.1:0", "vnc=:5900",
                           "vnc=127.0.0.1:65536", "vnc=127.0.0.1:-1", "vnc=::1:5900",
                           "vnc=[127.0.0.1]:1", "vnc=[::1:1", "vnc=example.org:1", "vncx"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseDisplayFlag(text).status())) << text;
  }
}

TEST(AddressTest, KnowsLoopback) {
  EXPECT_TRUE(IsLoopback({}));
  EXPECT_TRUE(IsLoopback({.host = "127.3.2.1"}));
  EXPECT_TRUE(IsLoopback({.host = "::1"}));
  EXPECT_FALSE(IsLoopback({.host = "0.0.0.0"}));
  EXPECT_FALSE(IsLoopback({.host = "10.127.0.1"}));
  EXPECT_FALSE(IsLoopback({.host = "::"}));
}

TEST(AddressTest, ListensOnceOnly) {
  Address first;
  const absl::StatusOr<UniqueFd> socket = Listen(&first);
  ASSERT_TRUE(socket.ok()) << socket.status();
  EXPECT_GE(first.port, kFirstPort);
  Address same = first;
  const absl::StatusOr<UniqueFd> again = Listen(&same);
  EXPECT_TRUE(absl::IsAlreadyExists(again.status()));
  EXPECT_THAT(again.status().message(), HasSubstr(AddressText(first)));
  // One that may choose takes another.
  Address other;
  EXPECT_TRUE(Listen(&other).ok());
  EXPECT_NE(other.port, first.port);
}

}  // namespace
}  // namespace hull::display
