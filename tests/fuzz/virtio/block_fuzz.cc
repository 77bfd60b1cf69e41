// A hostile driver against the block device: an access outside the disk ends the process in
// MemoryBackend.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>

#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/memory_backend.h"
#include "tests/fuzz/virtio/guest.h"
#include "vmm/devices/block/request_queue.h"
#include "vmm/devices/block/wire.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/queue.h"

using hull::fuzz::ByteSource;
using hull::fuzz::Guest;

namespace {

constexpr uint64_t kHeader = 0x400;
constexpr uint64_t kData = 0x1000;
constexpr uint64_t kStatus = 0x800;

// A request of a known type that is well-formed but for what the input says.
void Request(Guest& guest, ByteSource& source) {
  using namespace hull::block;  // NOLINT(google-build-using-namespace): the wire's names.
  constexpr uint32_t kTypes[] = {kTypeIn,      kTypeOut,         kTypeFlush, kTypeGetId,
                                 kTypeDiscard, kTypeWriteZeroes, 99};
  const auto shape = source.Take<uint8_t>();
  const uint32_t type = kTypes[shape % std::size(kTypes)];
  const auto head = source.Take<uint8_t>();
  // Each slot of the table has its own header, so that several requests can be under way.
  const uint64_t header = kHeader + head % Guest::kQueueSize * sizeof(RequestHeader);
  const uint64_t sector = source.Take<uint8_t>() % 20;
  guest.Write(header, RequestHeader{type, 0, sector});
  Guest::Chain chain = {{header, sizeof(RequestHeader), 0, 0}};
  switch (type) {
    case kTypeIn:
    case kTypeOut:
      // Whole sectors or, now and then, a part of one.
      chain.push_back({kData, source.Take<uint8_t>() % 5 * 512u + (shape >= 0xe0 ? shape : 0),
                       type == kTypeIn ? hull::virtio::kDescWrite : uint16_t{0}, 0});
      break;
    case kTypeGetId:
      chain.push_back({kData, source.Take<uint8_t>(), hull::virtio::kDescWrite, 0});
      break;
    case kTypeDiscard:
    case kTypeWriteZeroes: {
      const uint32_t count = source.Take<uint8_t>() % 4;
      for (uint32_t i = 0; i < count; ++i) {
        const RangeSegment segment = {source.Take<uint8_t>() % 20u, source.Take<uint8_t>() % 20u,
                                      source.Take<uint8_t>() % 4u};
        guest.Write(kData + i * sizeof(segment), segment);
      }
      chain.push_back({kData, count * static_cast<uint32_t>(sizeof(RangeSegment)), 0, 0});
      break;
    }
    default:
      break;
  }
  chain.push_back({kStatus, 1, hull::virtio::kDescWrite, 0});
  guest.Offer(chain, head, (shape & 0x40) != 0);
}

void Step(Guest& guest, ByteSource& source) {
  if (source.Take<uint8_t>() % 2 == 0) {
    Request(guest, source);
  } else {
    guest.Step(source);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteSource source(data, size);
  Guest guest;
  const auto flags = source.Take<uint8_t>();
  hull::fakes::MemoryBackend backend(16 * hull::block::kSectorSize, (flags & 1) != 0);
  if ((flags & 2) != 0) backend.error = absl::InternalError("broken");
  const uint64_t features = hull::virtio::kFeatureIndirectDesc |
                            ((flags & 4) != 0 ? hull::virtio::kFeatureEventIdx : 0) |
                            ((flags & 8) != 0 ? hull::block::kFeatureFlush : 0);
  hull::block::RequestLog log;
  hull::block::RequestQueue requests(
      hull::virtio::Queue::Create(guest.memory(), Guest::Config(), features, Guest::kQueueSize)
          .value(),
      features, std::make_shared<hull::fakes::FakeInterrupt>(), "fuzz", backend, log);
  const std::atomic<bool> stop{false};
  // While a request runs, the driver goes on writing.
  backend.during = [&] {
    if (!source.empty()) Step(guest, source);
  };
  while (!source.empty()) {
    for (int i = source.Take<uint8_t>() % 4; i >= 0; --i) Step(guest, source);
    if (!requests.Process(stop).ok()) break;
  }
  return 0;
}
