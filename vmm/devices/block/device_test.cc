#include "vmm/devices/block/device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/memory_backend.h"
#include "vmm/devices/block/wire.h"

namespace hull::block {
namespace {

using fakes::ChainBuilder;
using fakes::FakeDriver;
using fakes::MemoryBackend;
using fakes::SentChain;
using fakes::Used;

constexpr uint64_t kSectors = 64;
constexpr uint8_t kOk = static_cast<uint8_t>(RequestStatus::kOk);
constexpr uint8_t kIoError = static_cast<uint8_t>(RequestStatus::kIoError);
constexpr uint8_t kUnsupported = static_cast<uint8_t>(RequestStatus::kUnsupported);

std::vector<uint8_t> Pattern(size_t size, uint8_t seed) {
  std::vector<uint8_t> bytes(size);
  std::iota(bytes.begin(), bytes.end(), seed);
  return bytes;
}

uint8_t Status(const SentChain& chain) { return chain.Written().back(); }

// Requests executed on the test's own thread.
TEST(PatienceTest, IsKeptWhileItPaysAndTriedEverMoreRarelyWhileItDoesNot) {
  Patience patience;
  // How many notifications of one request each it takes until the worker becomes patient.
  const auto until_patient = [&patience] {
    int notifications = 1;
    while (!patience.Next(1)) ++notifications;
    return notifications;
  };
  EXPECT_EQ(until_patient(), 16);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(patience.Next(2));
  for (const int interval : {2, 4, 8, 16, 32, 64, 64}) {
    EXPECT_FALSE(patience.Next(1));
    EXPECT_EQ(until_patient(), interval);
  }
  EXPECT_TRUE(patience.Next(16));
  EXPECT_FALSE(patience.Next(1));
  EXPECT_EQ(until_patient(), 2);
}

class RequestQueueTest : public testing::Test {
 protected:
  RequestQueueTest()
      : memory_(
            GuestMemory::Create(std::array{GuestMemory::Range{GuestAddress{0}, 4 << 20}}).value()),
        allocator_(memory_, GuestAddress{0}, 4 << 20) {
    Use(false, kFeatureFlush);
  }

  void Use(bool read_only, uint64_t features, uint16_t size = 32) {
    backend_ = std::make_unique<MemoryBackend>(kSectors * kSectorSize, read_only);
    interrupt_ = std::make_shared<fakes::FakeInterrupt>();
    driver_.emplace(allocator_, size, features);
    requests_.emplace(virtio::Queue::Create(memory_, driver_->config(), features, size).value(),
                      features, interrupt_, "disk0", *backend_, log_);
  }
  void Process() {
    const absl::Status status = requests_->Process(stop_);
    EXPECT_TRUE(status.ok()) << status;
  }
  ChainBuilder Chain(uint32_t type, uint64_t sector) {
    return std::move(driver_->Chain().ReadableObject(RequestHeader{type, 0, sector}));
  }
  uint32_t UsedLength() {
    const std::optional<Used> used = driver_->PopUsed();
    EXPECT_TRUE(used.has_value());
    return used.has_value() ? used->length : ~0u;
  }

  const GuestMemory memory_;
  fakes::GuestAllocator allocator_;
  std::unique_ptr<MemoryBackend> backend_;
  std::shared_ptr<fakes::FakeInterrupt> interrupt_;
  std::optional<fakes::FakeQueue> driver_;
  RequestLog log_;
  std::optional<RequestQueue> requests_;
  std::atomic<bool> stop_{false};
};

TEST_F(RequestQueueTest, WritesThenReads) {
  const std::vector<uint8_t> data = Pattern(1024, 3);
  const SentChain write = Chain(kTypeOut, 5).Readable(data).Writable(1).Send();
  const SentChain read = Chain(kTypeIn, 5).Writable(500).Writable(524).Writable(1).Send();
  Process();
  EXPECT_EQ(Status(write), kOk);
  EXPECT_EQ(UsedLength(), 1u);
  EXPECT_EQ(UsedLength(), 1025u);
  std::vector<uint8_t> expected = data;
  expected.push_back(kOk);
  EXPECT_EQ(read.Written(), expected);
  EXPECT_EQ(backend_->calls, (std::vector<std::string>{"write 2560+1024", "read 2560+1024"}));
  EXPECT_EQ(interrupt_->count(), 1u) << "a batch shares one";
}

TEST_F(RequestQueueTest, AlwaysAnswers) {
  const SentChain refused = Chain(kTypeOut, kSectors).Readable(Pattern(512, 0)).Writable(1).Send();
  const SentChain unknown = Chain(99, 0).Writable(1).Send();
  const SentChain far = Chain(kTypeIn, kSectors).Writable(512).Writable(1).Send();
  Process();
  EXPECT_EQ(Status(refused), kIoError);
  EXPECT_EQ(Status(unknown), kUnsupported);
  EXPECT_EQ(Status(far), kIoError);
  EXPECT_EQ(far.WrittenAt(511), ChainBuilder::kUnwritten);
  EXPECT_EQ(UsedLength(), 1u);
  EXPECT_EQ(UsedLength(), 1u);
  EXPECT_EQ(UsedLength(), 0u) << "the data before the status was not written";
  EXPECT_TRUE(backend_->calls.empty());
}

TEST_F(RequestQueueTest, ARequestWithoutStatusByteComesBackEmpty) {
  Chain(kTypeOut, 0).Readable(Pattern(512, 0)).Send();
  Process();
  EXPECT_EQ(UsedLength(), 0u);
  EXPECT_TRUE(backend_->calls.empty());
}

TEST_F(RequestQueueTest, ADriverThatStartsAgainGetsNoMoreLogLines) {
  for (int round = 0; round < 5; ++round) {
    Use(false, kFeatureFlush);
    for (int i = 0; i < 6; ++i) Chain(kTypeOut, 0).Readable(Pattern(512, 0)).Send();
    Process();
  }
  EXPECT_EQ(log_.malformed.suppressed(), 20u);
  EXPECT_TRUE(log_.failed.Allow()) << "the disk's own errors are still told";
}

TEST_F(RequestQueueTest, BackendErrorsBecomeIoErrors) {
  backend_->error = absl::ResourceExhaustedError("no space");
  const SentChain write = Chain(kTypeOut, 0).Readable(Pattern(512, 0)).Writable(1).Send();
  const SentChain read = Chain(kTypeIn, 0).Writable(512).Writable(1).Send();
  const SentChain flush = Chain(kTypeFlush, 0).Writable(1).Send();
  Process();
  for (const SentChain& chain : {write, read, flush}) EXPECT_EQ(Status(chain), kIoError);
  EXPECT_EQ(backend_->calls.size(), 3u);
}

TEST_F(RequestQueueTest, TellsItsId) {
  const SentChain whole = Chain(kTypeGetId, 0).Writable(20).Writable(1).Send();
  const SentChain part = Chain(kTypeGetId, 0).Writable(3).Writable(1).Send();
  Process();
  std::vector<uint8_t> expected = {'d', 'i', 's', 'k', '0'};
  expected.resize(20);
  expected.push_back(kOk);
  EXPECT_EQ(whole.Written(), expected);
  EXPECT_EQ(part.Written(), (std::vector<uint8_t>{'d', 'i', 's', kOk}));
  EXPECT_EQ(UsedLength(), 21u);
}

TEST_F(RequestQueueTest, FlushesDiscardsAndZeroes) {
  std::ranges::fill(backend_->content, 7);
  const SentChain flush = Chain(kTypeFlush, 0).Writable(1).Send();
  const SentChain discard = Chain(kTypeDiscard, 0)
                                .ReadableObject(RangeSegment{1, 1, 0})
                                .ReadableObject(RangeSegment{9, 0, 0})
                                .ReadableObject(RangeSegment{3, 2, 0})
                                .Writable(1)
                                .Send();
  const SentChain zero =
      Chain(kTypeWriteZeroes, 0).ReadableObject(RangeSegment{10, 4, 0}).Writable(1).Send();
  const SentChain unmap = Chain(kTypeWriteZeroes, 0)
                              .ReadableObject(RangeSegment{20, 1, kRangeUnmap})
                              .Writable(1)
                              .Send();
  const SentChain nothing =
      Chain(kTypeWriteZeroes, 0).ReadableObject(RangeSegment{20, 0, 0}).Writable(1).Send();
  Process();
  for (const SentChain& chain : {flush, discard, zero, unmap, nothing}) {
    EXPECT_EQ(Status(chain), kOk);
  }
  EXPECT_EQ(backend_->calls,
            (std::vector<std::string>{"flush", "discard 512+512", "discard 1536+1024",
                                      "zero 5120+2048", "unmap 10240+512"}));
}

TEST_F(RequestQueueTest, WritesThroughForADriverThatCannotFlush) {
  Use(false, 0);
  Chain(kTypeOut, 0).Readable(Pattern(512, 0)).Writable(1).Send();
  Chain(kTypeWriteZeroes, 0).ReadableObject(RangeSegment{1, 1, 0}).Writable(1).Send();
  Chain(kTypeIn, 0).Writable(513).Send();
  Process();
  EXPECT_EQ(backend_->calls, (std::vector<std::string>{"write 0+512", "flush", "zero 512+512",
                                                       "flush", "read 0+512"}));
}

TEST_F(RequestQueueTest, ReadOnly) {
  Use(true, 0);
  const SentChain write = Chain(kTypeOut, 0).Readable(Pattern(512, 0)).Writable(1).Send();
  const SentChain read = Chain(kTypeIn, 0).Writable(513).Send();
  const SentChain flush = Chain(kTypeFlush, 0).Writable(1).Send();
  Process();
  EXPECT_EQ(Status(write), kIoError);
  EXPECT_EQ(Status(read), kOk);
  EXPECT_EQ(Status(flush), kOk);
  EXPECT_EQ(backend_->calls, std::vector<std::string>{"read 0+512"});
}

TEST_F(RequestQueueTest, AMalformedQueueIsAnError) {
  const SentChain good = Chain(kTypeFlush, 0).Writable(1).Send();
  driver_->Chain().Raw(GuestAddress{~0ull}, 16, false).Send();
  EXPECT_EQ(requests_->Process(stop_).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Status(good), kOk) << "what came before is done";
}

TEST_F(RequestQueueTest, StopsBetweenTwoRequests) {
  backend_->during = [this] { stop_ = true; };
  Chain(kTypeIn, 0).Writable(513).Send();
  Chain(kTypeIn, 0).Writable(513).Send();
  Process();
  EXPECT_EQ(backend_->calls.size(), 1u);
  EXPECT_EQ(interrupt_->count(), 1u) << "what was done is told";
}

TEST_F(RequestQueueTest, FindsWhatArrivesWhileItWorks) {
  int more = 3;
  backend_->during = [&] {
    // The driver need not notify: the device has not said it is done.
    if (more-- > 0) Chain(kTypeIn, 0).Writable(513).SendQuietly();
  };
  Chain(kTypeIn, 0).Writable(513).Send();
  Process();
  EXPECT_EQ(backend_->calls.size(), 4u);
}

TEST_F(RequestQueueTest, ALongBatchInterruptsMoreThanOnce) {
  Use(false, kFeatureFlush, 128);
  for (int i = 0; i < 40; ++i) Chain(kTypeIn, 0).Writable(513).Send();
  Process();
  EXPECT_EQ(interrupt_->count(), 3u);
}

// The whole device, with its thread.
class DeviceTest : public testing::Test {
 protected:
  explicit DeviceTest(bool read_only = false) {
    auto backend = std::make_unique<MemoryBackend>(kSectors * kSectorSize, read_only);
    backend_ = backend.get();
    device_ = Device::Create("root", std::move(backend)).value();
    driver_ = std::make_unique<FakeDriver>(device_);
  }
  ChainBuilder Chain(uint32_t type, uint64_t sector) {
    return std::move(driver_->Queue(0).Chain().ReadableObject(RequestHeader{type, 0, sector}));
  }
  std::optional<Used> WaitUsed() {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (absl::Now() < deadline) {
      const uint64_t interrupts = driver_->interrupt().count();
      if (const std::optional<Used> used = driver_->Queue(0).PopUsed()) return used;
      driver_->interrupt().WaitFor(interrupts + 1, absl::Milliseconds(100));
    }
    return std::nullopt;
  }
  bool WaitNeedsReset() {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (!driver_->NeedsReset() && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(1));
    return driver_->NeedsReset();
  }

  MemoryBackend* backend_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<FakeDriver> driver_;
};

class ReadOnlyDeviceTest : public DeviceTest {
 protected:
  ReadOnlyDeviceTest() : DeviceTest(true) {}
};

TEST_F(DeviceTest, DescribesItself) {
  EXPECT_EQ(driver_->ReadRegister(virtio::kMmioDeviceId), 2u);
  EXPECT_EQ(device_->name(), "block:root");
  const uint64_t features = driver_->OfferedFeatures();
  EXPECT_EQ(features & 0xffff, kFeatureSegMax | kFeatureBlockSize | kFeatureFlush |
                                   kFeatureDiscard | kFeatureWriteZeroes);
  EXPECT_EQ(driver_->ReadConfig<uint64_t>(offsetof(ConfigSpace, capacity)), kSectors);
  EXPECT_EQ(driver_->ReadConfig<uint32_t>(offsetof(ConfigSpace, seg_max)), 126u);
  EXPECT_EQ(driver_->ReadConfig<uint32_t>(offsetof(ConfigSpace, block_size)), 512u);
  EXPECT_EQ(driver_->ReadConfig<uint32_t>(offsetof(ConfigSpace, discard_sector_alignment)), 1u);
  EXPECT_EQ(driver_->ReadConfig<uint8_t>(offsetof(ConfigSpace, write_zeroes_may_unmap)), 1);
  EXPECT_EQ(driver_->ReadConfig<uint64_t>(sizeof(ConfigSpace)), 0u);
}

TEST_F(ReadOnlyDeviceTest, DescribesItself) {
  const uint64_t features = driver_->OfferedFeatures();
  EXPECT_EQ(features & 0xffff,
            kFeatureSegMax | kFeatureBlockSize | kFeatureFlush | kFeatureReadOnly);
  EXPECT_EQ(driver_->ReadConfig<uint32_t>(offsetof(ConfigSpace, max_discard_sectors)), 0u);
}

TEST_F(DeviceTest, RefusesBadIds) {
  for (const std::string& id : {std::string(), std::string(21, 'x')}) {
    EXPECT_EQ(Device::Create(id, std::make_unique<MemoryBackend>(512)).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(DeviceTest, ServesRequestsOfEveryNegotiation) {
  for (const uint64_t features :
       {uint64_t{0}, virtio::kFeatureEventIdx, virtio::kFeatureIndirectDesc, ~uint64_t{0}}) {
    ASSERT_TRUE(driver_->Start(features));
    const bool indirect = (driver_->features() & virtio::kFeatureIndirectDesc) != 0;
    for (int i = 0; i < 200; ++i) {
      const auto data = Pattern(512, static_cast<uint8_t>(i));
      ChainBuilder write = Chain(kTypeOut, i % kSectors);
      write.Readable(data).Writable(1);
      if (indirect) write.Indirect();
      const SentChain written = write.Send();
      const SentChain read = Chain(kTypeIn, i % kSectors).Writable(512).Writable(1).Send();
      ASSERT_TRUE(WaitUsed().has_value()) << i;
      ASSERT_TRUE(WaitUsed().has_value()) << i;
      ASSERT_EQ(Status(written), kOk);
      std::vector<uint8_t> expected = data;
      expected.push_back(kOk);
      ASSERT_EQ(read.Written(), expected);
    }
    driver_->Reset();
  }
}

TEST_F(DeviceTest, ServesWhatWasThereBeforeTheWorkerTookTheQueue) {
  ASSERT_TRUE(driver_->Start());
  Chain(kTypeFlush, 0).Writable(1).SendQuietly();
  EXPECT_TRUE(WaitUsed().has_value());
}

TEST_F(DeviceTest, ResetWaitsForTheRequestUnderWayAndDropsTheRest) {
  ASSERT_TRUE(driver_->Start());
  absl::Notification begun;
  absl::Notification go_on;
  backend_->during = [&] {
    if (begun.HasBeenNotified()) return;
    begun.Notify();
    go_on.WaitForNotification();
  };
  for (int i = 0; i < 8; ++i) Chain(kTypeIn, 0).Writable(513).Send();
  begun.WaitForNotification();
  std::thread resetter([&] { driver_->Reset(); });
  absl::SleepFor(absl::Milliseconds(20));
  go_on.Notify();
  resetter.join();
  // Nothing runs any more, so this is not a race.
  EXPECT_LT(backend_->calls.size(), 8u);
  const size_t calls = backend_->calls.size();
  ASSERT_TRUE(driver_->Start());
  Chain(kTypeIn, 0).Writable(513).Send();
  EXPECT_TRUE(WaitUsed().has_value());
  driver_->Reset();
  EXPECT_EQ(backend_->calls.size(), calls + 1);
}

TEST_F(DeviceTest, ABrokenQueueNeedsResetAndWorksAfterIt) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(driver_->Start());
    driver_->Queue(0).MakeAvailable(0xffff);
    driver_->Queue(0).Kick();
    ASSERT_TRUE(WaitNeedsReset());
    driver_->Queue(0).Kick();
    ASSERT_TRUE(driver_->Start());
    Chain(kTypeFlush, 0).Writable(1).Send();
    ASSERT_TRUE(WaitUsed().has_value());
  }
}

TEST_F(DeviceTest, AnUnusedQueueIsNoError) {
  driver_->Reset();
  driver_->WriteRegister(virtio::kMmioStatus, 3);
  driver_->WriteRegister(virtio::kMmioDriverFeaturesSel, 1);
  driver_->WriteRegister(virtio::kMmioDriverFeatures, 1);
  driver_->WriteRegister(virtio::kMmioStatus, 11);
  driver_->WriteRegister(virtio::kMmioStatus, 15);
  EXPECT_EQ(driver_->ReadRegister(virtio::kMmioStatus), 15u);
  driver_->WriteRegister(virtio::kMmioQueueNotify, 0);
  driver_->Reset();
  EXPECT_TRUE(driver_->Start());
}

TEST_F(DeviceTest, ManyResetsUnderLoad) {
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(driver_->Start());
    for (int j = 0; j < i % 7; ++j) Chain(kTypeIn, 0).Writable(513).Send();
    driver_->Reset();
  }
}

}  // namespace
}  // namespace hull::block
