// A hostile driver against the registers of virtio-mmio and a whole device behind them, the event
// loop included.

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/time/time.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fuzz/virtio/guest.h"
#include "vmm/devices/rng/device.h"
#include "vmm/event/event_loop.h"
#include "vmm/virtio/mmio_registers.h"
#include "vmm/virtio/mmio_transport.h"

using hull::fuzz::ByteSource;
using hull::fuzz::Guest;
using hull::virtio::MmioTransport;

namespace {

void WriteRegister(MmioTransport& transport, uint64_t offset, uint32_t value) {
  transport.Write(offset, std::span(reinterpret_cast<const uint8_t*>(&value), sizeof(value)));
}

// The orderly way to DRIVER_OK, of which the input need not know every step.
void Start(MmioTransport& transport, uint8_t features) {
  using namespace hull::virtio;  // NOLINT(google-build-using-namespace): the register names.
  const QueueConfig config = Guest::Config();
  for (const auto& [offset, value] : std::array<std::pair<uint64_t, uint32_t>, 13>{{
           {kMmioStatus, 0},
           {kMmioStatus, kStatusAcknowledge | kStatusDriver},
           {kMmioDriverFeaturesSel, 0},
           {kMmioDriverFeatures, uint32_t{features & 3u} << 28},
           {kMmioDriverFeaturesSel, 1},
           {kMmioDriverFeatures, 1},
           {kMmioStatus, kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk},
           {kMmioQueueSel, 0},
           {kMmioQueueDescLow, static_cast<uint32_t>(config.descriptor_table.value)},
           {kMmioQueueDriverLow, static_cast<uint32_t>(config.driver_area.value)},
           {kMmioQueueDeviceLow, static_cast<uint32_t>(config.device_area.value)},
           {kMmioQueueReady, 1},
           {kMmioStatus, kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk | kStatusDriverOk},
       }}) {
    WriteRegister(transport, offset, value);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteSource source(data, size);
  Guest guest;
  const std::unique_ptr<hull::EventLoop> loop = hull::EventLoop::Create().value();
  const auto device = hull::rng::Device::Create(loop.get(), [](std::span<uint8_t> out) {
    std::ranges::fill(out, 0x55);
    return absl::OkStatus();
  });
  const std::shared_ptr<MmioTransport> transport =
      MmioTransport::Create(guest.memory(), device, std::make_shared<hull::fakes::FakeInterrupt>())
          .value();
  while (!source.empty()) {
    const auto operation = source.Take<uint8_t>();
    std::array<uint8_t, 8> bytes{};
    const std::span<uint8_t> access = std::span(bytes).first(size_t{1} << (operation >> 3) % 4);
    switch (operation % 8) {
      case 0:
        transport->Read(source.Take<uint16_t>() % (hull::virtio::kMmioSize - 8), access);
        break;
      case 1:
        std::ranges::copy(source.TakeBytes(access.size()), access.begin());
        transport->Write(source.Take<uint16_t>() % (hull::virtio::kMmioSize - 8), access);
        break;
      case 2:
        WriteRegister(*transport, source.Take<uint8_t>() & 0xfc, source.Take<uint32_t>());
        break;
      case 3:
        WriteRegister(*transport, hull::virtio::kMmioQueueNotify, 0);
        break;
      case 4:
        CHECK(loop->RunOnce(absl::ZeroDuration()).ok());
        break;
      case 5:
        Start(*transport, operation >> 3);
        break;
      default:
        guest.Step(source);
        break;
    }
  }
  transport->ResetDevice();
  return 0;
}
