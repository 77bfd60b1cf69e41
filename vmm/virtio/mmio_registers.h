// The register layout of virtio over MMIO, version 2 (VIRTIO 1.2, 4.2.2, table 4.1).

#ifndef VMM_VIRTIO_MMIO_REGISTERS_H_
#define VMM_VIRTIO_MMIO_REGISTERS_H_

#include <cstdint>

namespace hull::virtio {

// Offsets. All registers are 32 bits wide and accessed as such (4.2.2.2).
enum MmioRegister : uint64_t {
  kMmioMagicValue = 0x000,
  kMmioVersion = 0x004,
  kMmioDeviceId = 0x008,
  kMmioVendorId = 0x00c,
  kMmioDeviceFeatures = 0x010,
  kMmioDeviceFeaturesSel = 0x014,
  kMmioDriverFeatures = 0x020,
  kMmioDriverFeaturesSel = 0x024,
  kMmioQueueSel = 0x030,
  kMmioQueueNumMax = 0x034,
  kMmioQueueNum = 0x038,
  kMmioQueueReady = 0x044,
  kMmioQueueNotify = 0x050,
  kMmioInterruptStatus = 0x060,
  kMmioInterruptAck = 0x064,
  kMmioStatus = 0x070,
  kMmioQueueDescLow = 0x080,
  kMmioQueueDescHigh = 0x084,
  kMmioQueueDriverLow = 0x090,
  kMmioQueueDriverHigh = 0x094,
  kMmioQueueDeviceLow = 0x0a0,
  kMmioQueueDeviceHigh = 0x0a4,
  kMmioShmSel = 0x0ac,
  kMmioShmLenLow = 0x0b0,
  kMmioShmLenHigh = 0x0b4,
  kMmioShmBaseLow = 0x0b8,
  kMmioShmBaseHigh = 0x0bc,
  kMmioQueueReset = 0x0c0,
  kMmioConfigGeneration = 0x0fc,
  kMmioConfig = 0x100,  // The device's configuration space; any width.
};

inline constexpr uint32_t kMmioMagic = 0x74726976;       // "virt"
inline constexpr uint32_t kMmioHullVendor = 0x4c4c5548;  // "HULL"

// Bits of kMmioStatus (2.1).
inline constexpr uint32_t kStatusAcknowledge = 1;
inline constexpr uint32_t kStatusDriver = 2;
inline constexpr uint32_t kStatusDriverOk = 4;
inline constexpr uint32_t kStatusFeaturesOk = 8;
inline constexpr uint32_t kStatusNeedsReset = 0x40;
inline constexpr uint32_t kStatusFailed = 0x80;

// Bits of kMmioInterruptStatus and kMmioInterruptAck.
inline constexpr uint32_t kInterruptUsedBuffer = 1;
inline constexpr uint32_t kInterruptConfigChange = 2;

}  // namespace hull::virtio

#endif  // VMM_VIRTIO_MMIO_REGISTERS_H_
