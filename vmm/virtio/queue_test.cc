#include "vmm/virtio/queue.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "tests/fakes/fake_queue.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/wire.h"

namespace hull::virtio {
namespace {

using fakes::FakeQueue;
using fakes::SentChain;
using fakes::Used;

constexpr GuestAddress kStart{0x10000};
constexpr uint64_t kMemorySize = 4 << 20;
constexpr GuestAddress kEnd{kStart.value + kMemorySize};

std::vector<uint8_t> Bytes(size_t size) {
  std::vector<uint8_t> bytes(size);
  std::iota(bytes.begin(), bytes.end(), uint8_t{1});
  return bytes;
}

class QueueTest : public testing::Test {
 protected:
  explicit QueueTest(uint64_t features = kFeatureVersion1 | kFeatureIndirectDesc)
      : features_(features),
        memory_(GuestMemory::Create(std::array{GuestMemory::Range{kStart, kMemorySize}}).value()),
        allocator_(memory_, kStart, kMemorySize),
        driver_(allocator_, 8, features, [this] { ++kicks_; }),
        queue_(Queue::Create(memory_, driver_.config(), features, 8).value()) {}

  // The next chain, which must be there and well-formed.
  DescriptorChain Pop() {
    absl::StatusOr<std::optional<DescriptorChain>> chain = queue_.Pop();
    EXPECT_TRUE(chain.ok()) << chain.status();
    EXPECT_TRUE(chain->has_value());
    return **std::move(chain);
  }
  void ExpectEmpty() {
    const absl::StatusOr<std::optional<DescriptorChain>> chain = queue_.Pop();
    ASSERT_TRUE(chain.ok()) << chain.status();
    EXPECT_FALSE(chain->has_value());
  }
  void ExpectMalformed() { EXPECT_EQ(queue_.Pop().status().code(), absl::StatusCode::kDataLoss); }
  void Complete(DescriptorChain chain, uint32_t written) {
    EXPECT_TRUE(queue_.Complete(std::move(chain), written).ok());
  }
  // Makes a hand-written descriptor 0 available.
  void Offer(const Descriptor& descriptor) {
    driver_.WriteDescriptor(0, descriptor);
    driver_.MakeAvailable(0);
  }
  GuestAddress Table(const std::vector<Descriptor>& descriptors) {
    const GuestAddress table = allocator_.Allocate(descriptors.size() * sizeof(Descriptor));
    for (size_t i = 0; i < descriptors.size(); ++i) {
      EXPECT_TRUE(
          memory_.WriteObject(GuestAddress{table.value + i * sizeof(Descriptor)}, descriptors[i])
              .ok());
    }
    return table;
  }

  const uint64_t features_;
  const GuestMemory memory_;
  fakes::GuestAllocator allocator_;
  int kicks_ = 0;
  FakeQueue driver_;
  Queue queue_;
};

class EventIndexQueueTest : public QueueTest {
 protected:
  EventIndexQueueTest() : QueueTest(kFeatureVersion1 | kFeatureEventIdx) {}
};

TEST_F(QueueTest, CreateChecksWhatTheDriverWrote) {
  const QueueConfig good = driver_.config();
  const auto code = [&](auto change) {
    QueueConfig config = good;
    change(config);
    return Queue::Create(memory_, config, features_, 8).status().code();
  };
  constexpr absl::StatusCode kBad = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code([](QueueConfig&) {}), absl::StatusCode::kOk);
  EXPECT_EQ(code([](QueueConfig& c) { c.size = 1; }), absl::StatusCode::kOk);
  EXPECT_EQ(code([](QueueConfig& c) { c.size = 0; }), kBad);
  EXPECT_EQ(code([](QueueConfig& c) { c.size = 3; }), kBad);
  EXPECT_EQ(code([](QueueConfig& c) { c.size = 16; }), kBad);
  EXPECT_EQ(code([](QueueConfig& c) { c.descriptor_table.value += 8; }), kBad);
  EXPECT_EQ(code([](QueueConfig& c) { c.driver_area.value += 1; }), kBad);
  EXPECT_EQ(code([](QueueConfig& c) { c.device_area.value += 2; }), kBad);
  EXPECT_EQ(code([](QueueConfig& c) { c.descriptor_table = GuestAddress{0}; }), kBad);
  EXPECT_EQ(code([](QueueConfig& c) { c.descriptor_table.value = kEnd.value - 112; }), kBad);
  // The event index's two bytes must be there too.
  EXPECT_EQ(code([](QueueConfig& c) { c.driver_area.value = kEnd.value - 20; }), kBad);
  EXPECT_EQ(code([](QueueConfig& c) { c.driver_area.value = kEnd.value - 22; }),
            absl::StatusCode::kOk);
  EXPECT_EQ(code([](QueueConfig& c) { c.device_area.value = kEnd.value - 68; }), kBad);
  EXPECT_EQ(code([](QueueConfig& c) { c.device_area.value = ~uint64_t{3}; }), kBad);
}

TEST_F(QueueTest, ExchangesAChain) {
  const SentChain sent = driver_.Chain().Readable(Bytes(10)).Readable(Bytes(5)).Writable(7).Send();
  DescriptorChain chain = Pop();
  EXPECT_EQ(chain.head(), sent.head());
  EXPECT_EQ(chain.readable_size(), 15u);
  EXPECT_EQ(chain.writable_size(), 7u);
  ExpectEmpty();

  std::array<uint8_t, 4> across{};
  ASSERT_TRUE(chain.Read(8, across).ok());
  EXPECT_EQ(across, (std::array<uint8_t, 4>{9, 10, 1, 2}));
  EXPECT_EQ(chain.Read(12, across).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(chain.Read(0xffffffff, across).code(), absl::StatusCode::kOutOfRange);
  ASSERT_TRUE(chain.Write(5, std::array<uint8_t, 2>{0x11, 0x22}).ok());
  EXPECT_EQ(chain.Write(6, across).code(), absl::StatusCode::kOutOfRange);

  EXPECT_FALSE(driver_.PopUsed().has_value());
  Complete(std::move(chain), 7);
  const std::optional<Used> used = driver_.PopUsed();
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->head, sent.head());
  EXPECT_EQ(used->length, 7u);
  constexpr uint8_t kKept = fakes::ChainBuilder::kUnwritten;
  EXPECT_EQ(sent.Written(), (std::vector<uint8_t>{kKept, kKept, kKept, kKept, kKept, 0x11, 0x22}));
}

TEST_F(QueueTest, SlicesCoverExactlyWhatWasAsked) {
  driver_.Chain().Readable(Bytes(10)).Readable(Bytes(5)).Writable(100).Writable(3).Send();
  DescriptorChain chain = Pop();
  const absl::StatusOr<std::vector<iovec>> readable = chain.ReadableSlices(9, 3);
  ASSERT_TRUE(readable.ok());
  ASSERT_EQ(readable->size(), 2u);
  EXPECT_EQ((*readable)[0].iov_len, 1u);
  EXPECT_EQ((*readable)[1].iov_len, 2u);
  EXPECT_EQ(chain.WritableSlices(0, 103)->size(), 2u);
  EXPECT_EQ(chain.WritableSlices(100, 3)->size(), 1u);
  EXPECT_EQ(chain.WritableSlices(103, 0)->size(), 0u);
  EXPECT_FALSE(chain.WritableSlices(1, 103).ok());
  Complete(std::move(chain), 0);
}

TEST_F(QueueTest, CompletesInAnyOrderAndWrapsAround) {
  for (int round = 0; round < 40'000; ++round) {
    const SentChain first = driver_.Chain().Writable(1).Send();
    const SentChain second = driver_.Chain().Writable(2).Send();
    DescriptorChain a = Pop();
    DescriptorChain b = Pop();
    Complete(std::move(b), 2);
    Complete(std::move(a), 1);
    ASSERT_EQ(driver_.PopUsed()->head, second.head());
    ASSERT_EQ(driver_.PopUsed()->head, first.head());
  }
  EXPECT_EQ(queue_.state().next_used, 80'000 & 0xffff);
}

TEST_F(QueueTest, UndoPopGivesTheSameChainAgain) {
  const SentChain first = driver_.Chain().Writable(1).Send();
  driver_.Chain().Writable(2).Send();
  queue_.UndoPop(Pop());
  DescriptorChain chain = Pop();
  EXPECT_EQ(chain.head(), first.head());
  Complete(std::move(chain), 0);
  Complete(Pop(), 0);
  ExpectEmpty();
}

TEST_F(QueueTest, ADeviceCannotClaimMoreThanTheChainHasRoomFor) {
  driver_.Chain().Readable(Bytes(4)).Writable(4).Send();
  EXPECT_EQ(queue_.Complete(Pop(), 5).code(), absl::StatusCode::kInternal);
  EXPECT_FALSE(driver_.PopUsed().has_value());
}

TEST_F(QueueTest, FollowsAnIndirectTable) {
  const SentChain sent =
      driver_.Chain().Readable(Bytes(3)).Readable(Bytes(4)).Writable(9).Indirect().Send();
  DescriptorChain chain = Pop();
  EXPECT_EQ(chain.head(), sent.head());
  EXPECT_EQ(chain.readable_size(), 7u);
  EXPECT_EQ(chain.writable_size(), 9u);
  Complete(std::move(chain), 9);
  EXPECT_EQ(driver_.PopUsed()->length, 9u);
}

TEST_F(QueueTest, FollowsDirectDescriptorsBeforeAnIndirectOne) {
  const GuestAddress data = allocator_.Allocate(64);
  // The write-only flag of a descriptor that refers to a table is ignored.
  const GuestAddress table = Table({{data.value, 8, kDescNext, 1}, {data.value, 4, kDescWrite, 0}});
  driver_.WriteDescriptor(5, {table.value, 32, kDescIndirect | kDescWrite, 0});
  Offer({data.value, 2, kDescNext, 5});
  DescriptorChain chain = Pop();
  EXPECT_EQ(chain.readable_size(), 10u);
  EXPECT_EQ(chain.writable_size(), 4u);
  Complete(std::move(chain), 0);
}

TEST_F(QueueTest, LeavesOutEmptyBuffers) {
  // Wherever they point: nothing is accessed.
  Offer({0xdead000000000000, 0, kDescNext, 1});
  driver_.WriteDescriptor(1, {kStart.value, 4, kDescWrite | kDescNext, 2});
  driver_.WriteDescriptor(2, {~0ull, 0, kDescWrite, 0});
  DescriptorChain chain = Pop();
  EXPECT_TRUE(chain.readable().empty());
  EXPECT_EQ(chain.writable().size(), 1u);
  Complete(std::move(chain), 4);
}

TEST_F(QueueTest, AcceptsAChainAsLongAsTheQueue) {
  fakes::ChainBuilder chain = driver_.Chain();
  for (int i = 0; i < 8; ++i) chain.Readable(Bytes(1));
  chain.Send();
  DescriptorChain popped = Pop();
  EXPECT_EQ(popped.readable().size(), 8u);
  Complete(std::move(popped), 0);
}

TEST_F(QueueTest, AcceptsAnIndirectTableLongerThanTheQueueAndUpToTheCap) {
  fakes::ChainBuilder chain = driver_.Chain();
  const GuestAddress data = allocator_.Allocate(1);
  for (int i = 0; i < kMaxQueueSize; ++i) chain.Raw(data, 1, false);
  chain.Indirect().Send();
  DescriptorChain popped = Pop();
  EXPECT_EQ(popped.readable_size(), kMaxQueueSize);
  Complete(std::move(popped), 0);
}

// Every way in which a driver can break the rules ends the queue's use, and nothing else.

TEST_F(QueueTest, RefusesALoop) {
  driver_.WriteDescriptor(3, {kStart.value, 1, kDescNext, 0});
  Offer({kStart.value, 1, kDescNext, 3});
  ExpectMalformed();
}

TEST_F(QueueTest, RefusesALoopOfEmptyBuffers) {
  Offer({kStart.value, 0, kDescNext, 0});
  ExpectMalformed();
}

TEST_F(QueueTest, RefusesANextOutsideTheTable) {
  Offer({kStart.value, 1, kDescNext, 8});
  ExpectMalformed();
}

TEST_F(QueueTest, RefusesAHeadOutsideTheTable) {
  driver_.MakeAvailable(8);
  ExpectMalformed();
}

TEST_F(QueueTest, RefusesReadableAfterWritable) {
  driver_.WriteDescriptor(1, {kStart.value, 1, 0, 0});
  Offer({kStart.value, 1, kDescWrite | kDescNext, 1});
  ExpectMalformed();
}

TEST_F(QueueTest, RefusesBuffersOutsideMemory) {
  for (const Descriptor& bad : std::vector<Descriptor>{{0, 1, 0, 0},
                                                       {kEnd.value - 4, 5, 0, 0},
                                                       {kEnd.value, 1, kDescWrite, 0},
                                                       {~0ull, 2, 0, 0},
                                                       {kStart.value, 0xffffffff, 0, 0}}) {
    Offer(bad);
    ExpectMalformed();
    queue_ = Queue::Create(memory_, driver_.config(), features_, 8).value();
    driver_.SetAvailableIndex(0);
  }
}

TEST_F(QueueTest, RefusesAnAvailableIndexTooFarAhead) {
  driver_.SetAvailableIndex(9);
  ExpectMalformed();
  // And one that went backwards.
  driver_.SetAvailableIndex(0xffff);
  ExpectMalformed();
}

TEST_F(QueueTest, RefusesBadIndirectTables) {
  const GuestAddress data = allocator_.Allocate(64);
  const GuestAddress one = Table({{data.value, 8, 0, 0}});
  const GuestAddress nested = Table({{one.value, 16, kDescIndirect, 0}});
  const GuestAddress loop = Table({{data.value, 1, kDescNext, 1}, {data.value, 1, kDescNext, 0}});
  const GuestAddress next_out = Table({{data.value, 1, kDescNext, 2}, {data.value, 1, 0, 0}});
  const GuestAddress order =
      Table({{data.value, 1, kDescWrite | kDescNext, 1}, {data.value, 1, 0, 0}});
  const GuestAddress outside = Table({{~0ull - 7, 8, 0, 0}});
  for (const Descriptor& bad :
       std::vector<Descriptor>{{one.value, 0, kDescIndirect, 0},
                               {one.value, 15, kDescIndirect, 0},
                               {one.value, 17, kDescIndirect, 0},
                               {one.value, 16, kDescIndirect | kDescNext, 1},
                               {kStart.value, 16 * (kMaxQueueSize + 1), kDescIndirect, 0},
                               {kEnd.value - 8, 16, kDescIndirect, 0},
                               {~0ull - 15, 32, kDescIndirect, 0},
                               {nested.value, 16, kDescIndirect, 0},
                               {loop.value, 32, kDescIndirect, 0},
                               {next_out.value, 32, kDescIndirect, 0},
                               {order.value, 32, kDescIndirect, 0},
                               {outside.value, 16, kDescIndirect, 0}}) {
    Offer(bad);
    ExpectMalformed();
    queue_ = Queue::Create(memory_, driver_.config(), features_, 8).value();
    driver_.SetAvailableIndex(0);
  }
}

TEST_F(EventIndexQueueTest, RefusesAnIndirectTableThatWasNotNegotiated) {
  const GuestAddress table = Table({{kStart.value, 8, 0, 0}});
  Offer({table.value, 16, kDescIndirect, 0});
  ExpectMalformed();
}

TEST(QueueTotalTest, RefusesAChainOfFourGibibytes) {
  const GuestMemory memory =
      GuestMemory::Create(std::array{GuestMemory::Range{kStart, 1ull << 31}}).value();
  fakes::GuestAllocator allocator(memory, kStart, 1 << 20);
  FakeQueue driver(allocator, 4, 0);
  absl::StatusOr<Queue> queue = Queue::Create(memory, driver.config(), 0, 4);
  ASSERT_TRUE(queue.ok());
  constexpr uint32_t kHalf = 1u << 31;
  driver.Chain().Raw(kStart, kHalf, false).Raw(kStart, kHalf - 1, true).Send();
  absl::StatusOr<std::optional<DescriptorChain>> largest = queue->Pop();
  ASSERT_TRUE(largest.ok());
  EXPECT_EQ((*largest)->readable_size(), kHalf);
  ASSERT_TRUE(queue->Complete(**std::move(largest), 0).ok());
  driver.Chain().Raw(kStart, kHalf, false).Raw(kStart, kHalf, true).Send();
  EXPECT_EQ(queue->Pop().status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(QueueTest, ChangesAfterPopAreNotSeen) {
  const SentChain sent = driver_.Chain().Readable(Bytes(4)).Writable(4).Send();
  DescriptorChain chain = Pop();
  driver_.WriteDescriptor(sent.head(), {~0ull, 0xffffffff, kDescNext, sent.head()});
  EXPECT_EQ(chain.readable_size(), 4u);
  std::array<uint8_t, 4> data{};
  EXPECT_TRUE(chain.Read(0, data).ok());
  EXPECT_EQ(data[3], 4);
  Complete(std::move(chain), 4);
}

TEST_F(QueueTest, InterruptsUnlessTheDriverAskedNotTo) {
  EXPECT_FALSE(queue_.NeedsInterrupt()) << "nothing was completed";
  driver_.Chain().Writable(1).Send();
  Complete(Pop(), 0);
  EXPECT_TRUE(queue_.NeedsInterrupt());
  EXPECT_FALSE(queue_.NeedsInterrupt()) << "already decided";
  driver_.SetNoInterrupt(true);
  driver_.Chain().Writable(1).Send();
  Complete(Pop(), 0);
  EXPECT_FALSE(queue_.NeedsInterrupt());
}

TEST_F(QueueTest, SuppressesNotificationsByFlag) {
  driver_.Chain().Writable(1).Send();
  EXPECT_EQ(kicks_, 1);
  queue_.DisableNotification();
  driver_.Chain().Writable(1).Send();
  EXPECT_EQ(kicks_, 1);
  Complete(Pop(), 0);
  EXPECT_TRUE(queue_.EnableNotification()) << "the second chain came without a notification";
  Complete(Pop(), 0);
  EXPECT_FALSE(queue_.EnableNotification());
  driver_.Chain().Writable(1).Send();
  EXPECT_EQ(kicks_, 2);
  Complete(Pop(), 0);
}

TEST_F(EventIndexQueueTest, InterruptsWhenTheUsedIndexPassesTheEvent) {
  driver_.Chain().Writable(1).Send();
  Complete(Pop(), 0);
  EXPECT_TRUE(queue_.NeedsInterrupt()) << "the first decision always interrupts";
  driver_.SetUsedEvent(3);
  for (int i = 1; i < 6; ++i) {
    driver_.Chain().Writable(1).Send();
    Complete(Pop(), 0);
    // After the completion with index 3, which makes the used index 4.
    EXPECT_EQ(queue_.NeedsInterrupt(), i == 3) << i;
    driver_.PopUsed();
    driver_.SetUsedEvent(3);
  }
}

TEST_F(EventIndexQueueTest, ABatchThatPassesTheEventInterruptsOnce) {
  driver_.Chain().Writable(1).Send();
  Complete(Pop(), 0);
  EXPECT_TRUE(queue_.NeedsInterrupt());
  driver_.SetUsedEvent(2);
  for (int i = 0; i < 4; ++i) driver_.Chain().Writable(1).SendQuietly();
  for (int i = 0; i < 4; ++i) Complete(Pop(), 0);
  EXPECT_TRUE(queue_.NeedsInterrupt());
  EXPECT_FALSE(queue_.NeedsInterrupt());
}

TEST_F(EventIndexQueueTest, AnEmptyQueueAsksForTheNextNotification) {
  driver_.Chain().Writable(1).Send();
  EXPECT_EQ(kicks_, 1);
  // Until the device is done, further chains need no notification.
  driver_.Chain().Writable(1).Send();
  EXPECT_EQ(kicks_, 1);
  Complete(Pop(), 0);
  Complete(Pop(), 0);
  ExpectEmpty();
  EXPECT_EQ(driver_.avail_event(), 2);
  driver_.Chain().Writable(1).Send();
  EXPECT_EQ(kicks_, 2);
  Complete(Pop(), 0);
}

TEST_F(EventIndexQueueTest, ADisabledQueueDoesNotAsk) {
  queue_.DisableNotification();
  driver_.Chain().Writable(1).SendQuietly();
  Complete(Pop(), 0);
  ExpectEmpty();
  EXPECT_EQ(driver_.avail_event(), 0);
  driver_.Chain().Writable(1).SendQuietly();
  EXPECT_TRUE(queue_.EnableNotification());
  Complete(Pop(), 0);
  EXPECT_FALSE(queue_.EnableNotification());
  EXPECT_EQ(driver_.avail_event(), 2);
}

TEST_F(EventIndexQueueTest, RestoresItsPositions) {
  driver_.Chain().Writable(1).Send();
  Complete(Pop(), 0);
  EXPECT_TRUE(queue_.NeedsInterrupt());
  const QueueState state = queue_.state();
  const SentChain sent = driver_.Chain().Writable(1).Send();
  queue_ = Queue::Create(memory_, driver_.config(), features_, 8).value();
  queue_.RestoreState(state);
  DescriptorChain chain = Pop();
  EXPECT_EQ(chain.head(), sent.head());
  Complete(std::move(chain), 1);
  driver_.SetUsedEvent(100);
  EXPECT_TRUE(queue_.NeedsInterrupt()) << "what was signalled before is not known";
  EXPECT_EQ(driver_.PopUsed()->head, 0);
  EXPECT_EQ(driver_.PopUsed()->length, 1u);
}

TEST(NeedsEventTest, FollowsTheSpecificationAcrossTheWrap) {
  EXPECT_TRUE(NeedsEvent(0, 1, 0));
  EXPECT_FALSE(NeedsEvent(1, 1, 0));
  EXPECT_FALSE(NeedsEvent(0xffff, 1, 0));
  EXPECT_TRUE(NeedsEvent(0xffff, 0, 0xffff));
  EXPECT_TRUE(NeedsEvent(0xfffe, 3, 0xfffc));
  EXPECT_FALSE(NeedsEvent(5, 5, 5));
}

}  // namespace
}  // namespace hull::virtio
