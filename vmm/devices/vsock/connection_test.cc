#include "vmm/devices/vsock/connection.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace hull::vsock {
namespace {

using State = Connection::State;

constexpr uint64_t kGuest = 3;
constexpr uint32_t kGuestPort = 1000;
constexpr uint32_t kHostPort = 2000;
constexpr uint32_t kBuffer = 1024;
constexpr uint32_t kGuestBuffer = 4096;

Header FromGuest(uint16_t op, uint32_t flags = 0, uint32_t len = 0) {
  return Header{.src_cid = kGuest,
                .dst_cid = kHostCid,
                .src_port = kGuestPort,
                .dst_port = kHostPort,
                .len = len,
                .type = kTypeStream,
                .op = op,
                .flags = flags,
                .buf_alloc = kGuestBuffer};
}

// Every packet that is owed now, as "REQUEST RST" or "SHUTDOWN(3)".
std::string Owed(Connection& connection) {
  static constexpr const char* kNames[] = {"?",        "REQUEST", "RESPONSE", "RST",
                                           "SHUTDOWN", "RW",      "UPDATE",   "ASK"};
  std::string result;
  while (connection.HasControl()) {
    const std::optional<Header> header = connection.TakeControl();
    if (!header.has_value()) return result + " NONE";
    if (!result.empty()) result += " ";
    result += kNames[header->op];
    if (header->op == kOpShutdown) result += "(" + std::to_string(header->flags) + ")";
    EXPECT_EQ(header->src_cid, kHostCid);
    EXPECT_EQ(header->dst_cid, kGuest);
    EXPECT_EQ(header->src_port, kHostPort);
    EXPECT_EQ(header->dst_port, kGuestPort);
    EXPECT_EQ(header->type, kTypeStream);
    EXPECT_EQ(header->buf_alloc, kBuffer);
    EXPECT_EQ(header->len, 0u);
  }
  EXPECT_FALSE(connection.TakeControl().has_value());
  return result;
}

Connection Connecting() { return Connection::FromGuest(FromGuest(kOpRequest), kBuffer); }

Connection Requesting() { return Connection::FromHost(kGuest, kHostPort, kGuestPort, kBuffer); }

Connection Established() {
  Connection connection = Connecting();
  connection.OnHostConnected();
  EXPECT_EQ(Owed(connection), "RESPONSE");
  return connection;
}

Connection InState(State state) {
  Connection connection = Established();
  switch (state) {
    case State::kConnecting:
      return Connecting();
    case State::kRequesting:
      connection = Requesting();
      EXPECT_EQ(Owed(connection), "REQUEST");
      return connection;
    case State::kEstablished:
      break;
    case State::kClosing:
      connection.OnHostTakesNoMore();
      connection.OnHostSentAll();
      EXPECT_EQ(Owed(connection), "SHUTDOWN(3)");
      break;
    case State::kFinishing:
      connection.OnPacket(FromGuest(kOpReadWrite, 0, 10));
      connection.OnPacket(FromGuest(kOpShutdown, kShutdownBoth));
      break;
    case State::kReset:
      connection.Abort();
      break;
    case State::kClosed:
      connection.OnPacket(FromGuest(kOpReset));
      break;
  }
  EXPECT_EQ(connection.state(), state);
  return connection;
}

TEST(ConnectionTest, EveryPacketInEveryState) {
  struct Case {
    State state;
    uint16_t op;
    uint32_t flags;
    State next;
    std::string owed;  // Afterwards.
  };
  const std::vector<Case> cases = {
      {State::kConnecting, kOpRequest, 0, State::kReset, "RST"},
      {State::kConnecting, kOpResponse, 0, State::kReset, "RST"},
      {State::kConnecting, kOpReset, 0, State::kClosed, ""},
      {State::kConnecting, kOpShutdown, 3, State::kReset, "RST"},
      {State::kConnecting, kOpReadWrite, 0, State::kReset, "RST"},
      {State::kConnecting, kOpCreditUpdate, 0, State::kConnecting, ""},
      {State::kConnecting, kOpCreditRequest, 0, State::kConnecting, ""},

      {State::kRequesting, kOpRequest, 0, State::kReset, "RST"},
      {State::kRequesting, kOpResponse, 0, State::kEstablished, ""},
      {State::kRequesting, kOpReset, 0, State::kClosed, ""},
      {State::kRequesting, kOpShutdown, 3, State::kReset, "RST"},
      {State::kRequesting, kOpReadWrite, 0, State::kReset, "RST"},
      {State::kRequesting, kOpCreditUpdate, 0, State::kRequesting, ""},

      {State::kEstablished, kOpRequest, 0, State::kReset, "RST"},
      {State::kEstablished, kOpResponse, 0, State::kReset, "RST"},
      {State::kEstablished, kOpReset, 0, State::kClosed, ""},
      {State::kEstablished, kOpShutdown, 0, State::kEstablished, ""},
      {State::kEstablished, kOpShutdown, 1, State::kEstablished, ""},
      {State::kEstablished, kOpShutdown, 2, State::kEstablished, ""},
      {State::kEstablished, kOpShutdown, 0xfffffffc, State::kEstablished, ""},
      {State::kEstablished, kOpShutdown, 3, State::kFinishing, "RST"},
      {State::kEstablished, kOpReadWrite, 0, State::kEstablished, ""},
      {State::kEstablished, kOpCreditUpdate, 0, State::kEstablished, ""},
      {State::kEstablished, kOpCreditRequest, 0, State::kEstablished, "UPDATE"},
      {State::kEstablished, 99, 0, State::kReset, "RST"},

      {State::kClosing, kOpRequest, 0, State::kReset, "RST"},
      {State::kClosing, kOpResponse, 0, State::kReset, "RST"},
      {State::kClosing, kOpReset, 0, State::kClosed, ""},
      // Data that crossed the SHUTDOWN.
      {State::kClosing, kOpReadWrite, 0, State::kClosing, ""},
      {State::kClosing, kOpShutdown, 2, State::kClosing, ""},
      // Both closed at once.
      {State::kClosing, kOpShutdown, 3, State::kFinishing, "RST"},
      {State::kClosing, kOpCreditRequest, 0, State::kClosing, ""},

      {State::kFinishing, kOpReset, 0, State::kClosed, ""},
      {State::kFinishing, kOpReadWrite, 0, State::kReset, "RST"},
      {State::kFinishing, kOpShutdown, 3, State::kFinishing, ""},
      {State::kFinishing, kOpRequest, 0, State::kReset, "RST"},

      {State::kReset, kOpReset, 0, State::kClosed, ""},
      {State::kReset, kOpRequest, 0, State::kReset, "RST"},
      {State::kReset, kOpReadWrite, 0, State::kReset, "RST"},

      {State::kClosed, kOpReset, 0, State::kClosed, ""},
      {State::kClosed, kOpRequest, 0, State::kClosed, ""},
      {State::kClosed, kOpReadWrite, 0, State::kClosed, ""},
  };
  for (const Case& c : cases) {
    Connection connection = InState(c.state);
    connection.OnPacket(FromGuest(c.op, c.flags));
    const std::string name = "state " + std::to_string(static_cast<int>(c.state)) + " operation " +
                             std::to_string(c.op) + " flags " + std::to_string(c.flags);
    EXPECT_EQ(connection.state(), c.next) << name;
    EXPECT_EQ(Owed(connection), c.owed) << name;
    if (c.next == State::kReset || (c.owed == "RST")) {
      EXPECT_EQ(connection.state(), State::kClosed) << name;
    }
  }
}

TEST(ConnectionTest, GuestConnectsToHost) {
  Connection connection = Connecting();
  EXPECT_EQ(Owed(connection), "");
  EXPECT_EQ(connection.SendCredit(), 0u);
  connection.OnHostConnected();
  EXPECT_EQ(connection.state(), State::kEstablished);
  EXPECT_EQ(Owed(connection), "RESPONSE");
  EXPECT_EQ(connection.SendCredit(), kGuestBuffer);
}

TEST(ConnectionTest, RefusedByTheHost) {
  Connection connection = Connecting();
  connection.Abort();
  EXPECT_TRUE(connection.aborted());
  EXPECT_EQ(Owed(connection), "RST");
  EXPECT_EQ(connection.state(), State::kClosed);
}

TEST(ConnectionTest, HostConnectsToGuest) {
  Connection connection = Requesting();
  // A RESPONSE to a REQUEST that was not sent yet.
  Connection early = Requesting();
  early.OnPacket(FromGuest(kOpResponse));
  EXPECT_EQ(Owed(early), "RST");

  EXPECT_EQ(Owed(connection), "REQUEST");
  EXPECT_EQ(connection.SendCredit(), 0u);
  EXPECT_TRUE(connection.OnPacket(FromGuest(kOpResponse)).accepted);
  EXPECT_EQ(connection.SendCredit(), kGuestBuffer);
  EXPECT_FALSE(connection.aborted());
}

TEST(ConnectionTest, RefusedByTheGuest) {
  Connection connection = InState(State::kRequesting);
  EXPECT_FALSE(connection.OnPacket(FromGuest(kOpReset)).accepted);
  EXPECT_TRUE(connection.aborted());
  EXPECT_EQ(connection.state(), State::kClosed);
}

TEST(ConnectionTest, WaitsThatExpire) {
  for (const State state : {State::kConnecting, State::kRequesting, State::kClosing}) {
    Connection connection = InState(state);
    connection.Expire();
    EXPECT_TRUE(connection.aborted());
    EXPECT_EQ(Owed(connection), "RST");
    EXPECT_EQ(connection.state(), State::kClosed);
  }
}

TEST(ConnectionTest, GuestHalfCloses) {
  Connection connection = Established();
  EXPECT_TRUE(connection.OnPacket(FromGuest(kOpReadWrite, 0, 5)).deliver);
  connection.OnPacket(FromGuest(kOpShutdown, kShutdownSend));
  EXPECT_TRUE(connection.guest_sent_all());
  EXPECT_FALSE(connection.guest_takes_no_more());
  EXPECT_EQ(Owed(connection), "");
  // The other direction goes on.
  EXPECT_EQ(connection.SendCredit(), kGuestBuffer);
  EXPECT_EQ(connection.OnHostData(7).len, 7u);
  // The host ends too: the SHUTDOWN is complete at once, and asks for the guest's RST.
  connection.OnHostSentAll();
  EXPECT_EQ(connection.state(), State::kClosing);
  EXPECT_EQ(Owed(connection), "SHUTDOWN(3)");
  connection.OnPacket(FromGuest(kOpReset));
  EXPECT_EQ(connection.state(), State::kClosed);
  // The five bytes are still the host's.
  EXPECT_FALSE(connection.aborted());
  EXPECT_EQ(connection.buffered(), 5u);
}

TEST(ConnectionTest, HostHalfCloses) {
  Connection connection = Established();
  connection.OnHostSentAll();
  EXPECT_EQ(Owed(connection), "SHUTDOWN(2)");
  EXPECT_EQ(connection.state(), State::kEstablished);
  EXPECT_EQ(connection.SendCredit(), 0u);
  EXPECT_TRUE(connection.OnPacket(FromGuest(kOpReadWrite, 0, 5)).deliver);
  connection.OnPacket(FromGuest(kOpShutdown, kShutdownSend));
  EXPECT_EQ(connection.state(), State::kClosing);
  EXPECT_EQ(Owed(connection), "SHUTDOWN(3)");
}

TEST(ConnectionTest, HostTakesNoMore) {
  Connection connection = Established();
  connection.OnPacket(FromGuest(kOpReadWrite, 0, 100));
  connection.OnHostTakesNoMore();
  EXPECT_EQ(connection.buffered(), 0u);
  EXPECT_EQ(Owed(connection), "SHUTDOWN(1)");
  // What crossed it is nobody's, and costs no credit.
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(connection.OnPacket(FromGuest(kOpReadWrite, 0, kBuffer)).deliver);
    EXPECT_EQ(connection.state(), State::kEstablished);
  }
  EXPECT_EQ(connection.SendCredit(), kGuestBuffer);
  connection.OnHostSentAll();
  EXPECT_EQ(connection.state(), State::kClosing);
}

TEST(ConnectionTest, BothStopReading) {
  Connection connection = Established();
  connection.OnPacket(FromGuest(kOpShutdown, kShutdownReceive));
  EXPECT_TRUE(connection.guest_takes_no_more());
  EXPECT_EQ(connection.SendCredit(), 0u);
  connection.OnHostTakesNoMore();
  EXPECT_EQ(Owed(connection), "SHUTDOWN(3)");
  EXPECT_EQ(connection.state(), State::kClosing);
}

TEST(ConnectionTest, ShutdownHintsArePermanent) {
  Connection connection = Established();
  connection.OnPacket(FromGuest(kOpShutdown, kShutdownReceive));
  connection.OnPacket(FromGuest(kOpShutdown, 0));
  EXPECT_TRUE(connection.guest_takes_no_more());
  connection.OnPacket(FromGuest(kOpShutdown, kShutdownSend));
  EXPECT_EQ(connection.state(), State::kFinishing);
}

TEST(ConnectionTest, GuestClosesAndTheHostIsSlow) {
  Connection connection = Established();
  connection.OnPacket(FromGuest(kOpReadWrite, 0, 100));
  connection.OnPacket(FromGuest(kOpShutdown, kShutdownBoth));
  EXPECT_EQ(Owed(connection), "");
  connection.OnDelivered(60);
  EXPECT_EQ(Owed(connection), "");
  connection.OnDelivered(40);
  EXPECT_EQ(Owed(connection), "RST");
  EXPECT_EQ(connection.state(), State::kClosed);
  EXPECT_FALSE(connection.aborted());
}

TEST(ConnectionTest, ResetVoidsAnUnfinishedStream) {
  Connection connection = Established();
  connection.OnPacket(FromGuest(kOpReadWrite, 0, 100));
  connection.OnPacket(FromGuest(kOpReset));
  EXPECT_TRUE(connection.aborted());
}

TEST(ConnectionTest, GuestGone) {
  Connection connection = Established();
  connection.OnPacket(FromGuest(kOpReadWrite, 0, 100));
  connection.OnGuestGone();
  EXPECT_FALSE(connection.aborted());
  EXPECT_TRUE(connection.guest_sent_all());
  EXPECT_TRUE(connection.guest_takes_no_more());
  EXPECT_EQ(connection.buffered(), 100u);
  EXPECT_EQ(Owed(connection), "");
  connection = Connecting();
  connection.OnGuestGone();
  EXPECT_TRUE(connection.aborted());
}

TEST(ConnectionTest, CreditBoundsWhatTheGuestSends) {
  Connection connection = Established();
  EXPECT_TRUE(connection.OnPacket(FromGuest(kOpReadWrite, 0, kBuffer)).deliver);
  EXPECT_EQ(connection.buffered(), kBuffer);
  EXPECT_TRUE(connection.OnPacket(FromGuest(kOpReadWrite, 0, 0)).deliver == false);
  EXPECT_EQ(connection.state(), State::kEstablished);
  EXPECT_FALSE(connection.OnPacket(FromGuest(kOpReadWrite, 0, 1)).deliver);
  EXPECT_TRUE(connection.aborted());
  EXPECT_EQ(Owed(connection), "RST");
}

TEST(ConnectionTest, CreditComesBackHalfABufferAtATime) {
  Connection connection = Established();
  connection.OnPacket(FromGuest(kOpReadWrite, 0, kBuffer));
  connection.OnDelivered(kBuffer / 2 - 1);
  EXPECT_EQ(Owed(connection), "");
  connection.OnDelivered(1);
  ASSERT_TRUE(connection.HasControl());
  const std::optional<Header> update = connection.TakeControl();
  EXPECT_EQ(update->op, kOpCreditUpdate);
  EXPECT_EQ(update->fwd_cnt, kBuffer / 2);
  EXPECT_EQ(Owed(connection), "");
  // Other packets carry it as well.
  connection.OnDelivered(kBuffer / 2);
  EXPECT_EQ(connection.OnHostData(1).fwd_cnt, kBuffer);
  EXPECT_EQ(Owed(connection), "");
}

TEST(ConnectionTest, GuestsCreditBoundsWhatIsSent) {
  Connection connection = Established();
  connection.OnHostData(kGuestBuffer - 1);
  EXPECT_EQ(connection.SendCredit(), 1u);
  connection.OnHostData(1);
  EXPECT_EQ(connection.SendCredit(), 0u);
  EXPECT_TRUE(connection.CanSendWithCredit());
  // Asked for once.
  connection.OnOutOfCredit();
  connection.OnOutOfCredit();
  EXPECT_EQ(Owed(connection), "ASK");
  connection.OnOutOfCredit();
  EXPECT_EQ(Owed(connection), "");
  Header update = FromGuest(kOpCreditUpdate);
  update.fwd_cnt = 100;
  connection.OnPacket(update);
  EXPECT_EQ(connection.SendCredit(), 100u);
  connection.OnHostData(100);
  connection.OnOutOfCredit();
  EXPECT_EQ(Owed(connection), "ASK");
}

TEST(ConnectionTest, BogusCreditGivesNone) {
  Connection connection = Established();
  connection.OnHostData(100);
  Header update = FromGuest(kOpCreditUpdate);
  update.fwd_cnt = 101;  // More than was sent.
  connection.OnPacket(update);
  EXPECT_EQ(connection.SendCredit(), 0u);
  update.fwd_cnt = 50;
  update.buf_alloc = 49;  // Shrunk below what is in flight.
  connection.OnPacket(update);
  EXPECT_EQ(connection.SendCredit(), 0u);
  update.buf_alloc = 51;
  connection.OnPacket(update);
  EXPECT_EQ(connection.SendCredit(), 1u);
}

TEST(ConnectionTest, CountersWrap) {
  Connection connection = Connection::FromGuest(FromGuest(kOpRequest), 1u << 30);
  connection.OnHostConnected();
  connection.TakeControl();
  uint32_t to_guest = 0;
  for (uint64_t total = 0; total < (5ull << 32); total += 1u << 29) {
    // To the host.
    ASSERT_TRUE(connection.OnPacket(FromGuest(kOpReadWrite, 0, 1u << 29)).deliver);
    ASSERT_EQ(connection.buffered(), 1u << 29);
    connection.OnDelivered(1u << 29);
    ASSERT_EQ(connection.buffered(), 0u);
    const std::optional<Header> update = connection.TakeControl();
    ASSERT_TRUE(update.has_value());
    ASSERT_EQ(update->op, kOpCreditUpdate);
    ASSERT_EQ(update->fwd_cnt, static_cast<uint32_t>(total + (1u << 29)));
    // To the guest, which takes it later.
    Header taken = FromGuest(kOpCreditUpdate);
    taken.buf_alloc = 1u << 30;
    taken.fwd_cnt = to_guest;
    connection.OnPacket(taken);
    ASSERT_EQ(connection.SendCredit(), 1u << 30);
    connection.OnHostData((1u << 30) - 1);
    ASSERT_EQ(connection.SendCredit(), 1u);
    to_guest += (1u << 30) - 1;
    // OnPacket above reads the guest's packet of data, whose fwd_cnt must not go back.
    taken.fwd_cnt = to_guest;
    connection.OnPacket(taken);
    ASSERT_EQ(connection.SendCredit(), 1u << 30);
  }
  EXPECT_EQ(connection.state(), State::kEstablished);
}

TEST(ConnectionTest, NeverBelievesTheHostBeyondItsBuffer) {
  Connection connection = Established();
  connection.OnPacket(FromGuest(kOpReadWrite, 0, 10));
  connection.OnDelivered(1000);
  EXPECT_EQ(connection.buffered(), 0u);
}

}  // namespace
}  // namespace hull::vsock
