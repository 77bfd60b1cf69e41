// A hostile driver against the split virtqueue: whatever lies in memory, a popped chain is within
// it.

#include <glog/logging.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "tests/fuzz/virtio/guest.h"
#include "vmm/virtio/descriptor_chain.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/queue.h"

using hull::fuzz::ByteSource;
using hull::fuzz::Guest;
using hull::virtio::Buffer;
using hull::virtio::DescriptorChain;
using hull::virtio::Queue;

namespace {

void CheckChain(const Guest& guest, const DescriptorChain& chain) {
  CHECK_LT(chain.head(), Guest::kQueueSize);
  CHECK_LE(chain.readable().size() + chain.writable().size(),
           size_t{Guest::kQueueSize} + hull::virtio::kMaxQueueSize);
  uint64_t size = 0;
  for (const auto part : {chain.readable(), chain.writable()}) {
    for (const Buffer& buffer : part) {
      CHECK_GT(buffer.length, 0u);
      CHECK(guest.memory().Contains(buffer.address, buffer.length));
      size += buffer.length;
    }
  }
  CHECK_EQ(size, uint64_t{chain.readable_size()} + chain.writable_size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteSource source(data, size);
  Guest guest;
  hull::virtio::QueueConfig config = Guest::Config();
  const auto flags = source.Take<uint8_t>();
  if ((flags & 1) != 0) {
    // Areas where the driver likes.
    config.descriptor_table.value = source.Take<uint16_t>();
    config.driver_area.value = source.Take<uint16_t>();
    config.device_area.value = source.Take<uint16_t>();
    config.size = source.Take<uint8_t>() % (Guest::kQueueSize + 2);
  }
  const uint64_t features = ((flags & 2) != 0 ? hull::virtio::kFeatureEventIdx : 0) |
                            ((flags & 4) != 0 ? hull::virtio::kFeatureIndirectDesc : 0);
  absl::StatusOr<Queue> queue = Queue::Create(guest.memory(), config, features, Guest::kQueueSize);
  if (!queue.ok()) return 0;

  std::vector<DescriptorChain> held;
  bool broken = false;
  while (!source.empty() && !broken) {
    const auto operation = source.Take<uint8_t>();
    switch (operation % 8) {
      case 0:
      case 1: {
        absl::StatusOr<std::optional<DescriptorChain>> chain = queue->Pop();
        broken = !chain.ok();
        if (broken || !chain->has_value()) break;
        CheckChain(guest, **chain);
        uint8_t bytes[64];
        (void)(*chain)->Read(operation, bytes);
        (void)(*chain)->Write(operation, bytes);
        (void)(*chain)->WritableSlices(0, (*chain)->writable_size());
        if (operation >= 128) {
          queue->UndoPop(**std::move(chain));
        } else {
          held.push_back(**std::move(chain));
        }
        break;
      }
      case 2:
        if (held.empty()) break;
        std::swap(held[operation % held.size()], held.back());
        {
          const uint32_t written = held.back().writable_size();
          CHECK(queue->Complete(std::move(held.back()), written).ok());
        }
        held.pop_back();
        break;
      case 3:
        (void)queue->NeedsInterrupt();
        break;
      case 4:
        if (operation >= 128) {
          queue->DisableNotification();
        } else {
          (void)queue->EnableNotification();
        }
        break;
      default:
        guest.Step(source);
        break;
    }
  }
  for (DescriptorChain& chain : held) std::move(chain).Abandon();
  return 0;
}
