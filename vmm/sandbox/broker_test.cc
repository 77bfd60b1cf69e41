#include "vmm/sandbox/broker.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "gtest/gtest.h"

namespace hull::sandbox {
namespace {

TEST(BrokerTest, ARequestComesBackWithItsConnection) {
  const BrokerSockets sockets = *MakeBrokerSockets();
  ASSERT_TRUE(SendRequest(sockets.requester.get(), {.id = 7, .port = 1024}).ok());
  const auto request = *ReceiveRequest(sockets.server.get());
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->id, 7u);
  EXPECT_EQ(request->port, 1024u);

  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const UniqueFd read_end(pipe_ends[0]);
  ASSERT_TRUE(
      SendReply(sockets.server.get(), {.id = 7, .connection = UniqueFd(pipe_ends[1])}).ok());
  auto reply = *ReceiveReply(sockets.requester.get());
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->id, 7u);
  EXPECT_EQ(reply->error, 0);
  EXPECT_NE(fcntl(reply->connection.get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_EQ(write(reply->connection.get(), "x", 1), 1);
  char byte;
  EXPECT_EQ(read(read_end.get(), &byte, 1), 1);
}

TEST(BrokerTest, ARefusal) {
  const BrokerSockets sockets = *MakeBrokerSockets();
  ASSERT_TRUE(SendReply(sockets.server.get(), {.id = 1, .error = ECONNREFUSED}).ok());
  const auto reply = *ReceiveReply(sockets.requester.get());
  EXPECT_EQ(reply->error, ECONNREFUSED);
  EXPECT_FALSE(reply->connection.valid());
}

TEST(BrokerTest, NothingYetIsNoError) {
  const BrokerSockets sockets = *MakeBrokerSockets();
  EXPECT_FALSE(ReceiveRequest(sockets.server.get())->has_value());
  EXPECT_FALSE(ReceiveReply(sockets.requester.get())->has_value());
}

TEST(BrokerTest, TheOtherEndIsGone) {
  BrokerSockets sockets = *MakeBrokerSockets();
  sockets.requester.Reset();
  EXPECT_TRUE(absl::IsOutOfRange(ReceiveRequest(sockets.server.get()).status()));
}

TEST(BrokerTest, AServerTakesNoDescriptorAndNothingOfAnotherSize) {
  const BrokerSockets sockets = *MakeBrokerSockets();
  // As long as a request, but with something attached.
  BrokerReply reply = {.id = 1, .connection = UniqueFd(dup(0))};
  ASSERT_TRUE(SendReply(sockets.requester.get(), reply).ok());
  const int before = dup(0);
  EXPECT_TRUE(absl::IsInvalidArgument(ReceiveRequest(sockets.server.get()).status()));
  const int after = dup(0);
  EXPECT_EQ(after, before + 1) << "a descriptor came in";
  close(before);
  close(after);
  for (const size_t size : {1, 7, 9, 4096}) {
    const std::string garbage(size, 'x');
    ASSERT_EQ(send(sockets.requester.get(), garbage.data(), size, 0), static_cast<ssize_t>(size));
    EXPECT_TRUE(absl::IsInvalidArgument(ReceiveRequest(sockets.server.get()).status())) << size;
  }
}

TEST(BrokerTest, AFloodIsTheSendersProblem) {
  const BrokerSockets sockets = *MakeBrokerSockets();
  absl::Status status;
  for (int i = 0; i < 100000 && status.ok(); ++i) {
    status = SendRequest(sockets.requester.get(), {.id = 1, .port = 1});
  }
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
}

}  // namespace
}  // namespace hull::sandbox
