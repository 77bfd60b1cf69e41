// The registers and commands of ATA and ATAPI drives.
//
// ATA/ATAPI-6 (T13/1410D): section 7 (registers), section 8 (commands), section 9 (protocols).

#ifndef VMM_DEVICES_ATA_WIRE_H_
#define VMM_DEVICES_ATA_WIRE_H_

#include <cstddef>
#include <cstdint>

namespace hull::ata {

// The command block registers, as offsets from the channel's first port.
inline constexpr uint64_t kData = 0;
inline constexpr uint64_t kError = 1;  // Written: features.
inline constexpr uint64_t kCount = 2;
inline constexpr uint64_t kLbaLow = 3;
inline constexpr uint64_t kLbaMid = 4;
inline constexpr uint64_t kLbaHigh = 5;
inline constexpr uint64_t kDevice = 6;
inline constexpr uint64_t kStatus = 7;  // Written: the command.

// Status register.
inline constexpr uint8_t kBusy = 1 << 7;
inline constexpr uint8_t kReady = 1 << 6;
inline constexpr uint8_t kSeekComplete = 1 << 4;
inline constexpr uint8_t kDataRequest = 1 << 3;
inline constexpr uint8_t kFailed = 1 << 0;

// Error register.
inline constexpr uint8_t kUncorrectable = 1 << 6;
inline constexpr uint8_t kNotFound = 1 << 4;
inline constexpr uint8_t kAborted = 1 << 2;
inline constexpr uint8_t kDiagnosticsPassed = 0x01;

// Device register.
inline constexpr uint8_t kUseLba = 1 << 6;
inline constexpr uint8_t kSelectSecond = 1 << 4;
inline constexpr uint8_t kHeadMask = 0x0f;  // Or bits 24 to 27 of the address.

// Device control register.
inline constexpr uint8_t kHighOrder = 1 << 7;  // Reads give what was written before the last value.
inline constexpr uint8_t kSoftwareReset = 1 << 2;
inline constexpr uint8_t kInterruptsOff = 1 << 1;

// Commands.
inline constexpr uint8_t kDeviceReset = 0x08;
inline constexpr uint8_t kRecalibrate = 0x10;  // And the 15 above it.
inline constexpr uint8_t kReadSectors = 0x20;
inline constexpr uint8_t kReadSectorsNoRetry = 0x21;
inline constexpr uint8_t kReadSectorsExt = 0x24;
inline constexpr uint8_t kReadNativeMaxExt = 0x27;
inline constexpr uint8_t kReadMultipleExt = 0x29;
inline constexpr uint8_t kWriteSectors = 0x30;
inline constexpr uint8_t kWriteSectorsNoRetry = 0x31;
inline constexpr uint8_t kWriteSectorsExt = 0x34;
inline constexpr uint8_t kWriteMultipleExt = 0x39;
inline constexpr uint8_t kVerify = 0x40;
inline constexpr uint8_t kVerifyNoRetry = 0x41;
inline constexpr uint8_t kVerifyExt = 0x42;
inline constexpr uint8_t kSeek = 0x70;  // And the 15 above it.
inline constexpr uint8_t kDiagnostics = 0x90;
inline constexpr uint8_t kInitializeParameters = 0x91;
inline constexpr uint8_t kPacket = 0xa0;
inline constexpr uint8_t kIdentifyPacketDevice = 0xa1;
inline constexpr uint8_t kReadMultiple = 0xc4;
inline constexpr uint8_t kWriteMultiple = 0xc5;
inline constexpr uint8_t kSetMultipleMode = 0xc6;
inline constexpr uint8_t kStandbyImmediate = 0xe0;
inline constexpr uint8_t kIdleImmediate = 0xe1;
inline constexpr uint8_t kStandby = 0xe2;
inline constexpr uint8_t kIdle = 0xe3;
inline constexpr uint8_t kCheckPowerMode = 0xe5;
inline constexpr uint8_t kSleep = 0xe6;
inline constexpr uint8_t kFlushCache = 0xe7;
inline constexpr uint8_t kFlushCacheExt = 0xea;
inline constexpr uint8_t kIdentifyDevice = 0xec;
inline constexpr uint8_t kSetFeatures = 0xef;
inline constexpr uint8_t kReadNativeMax = 0xf8;

// Sub-commands of SET FEATURES.
inline constexpr uint8_t kEnableWriteCache = 0x02;
inline constexpr uint8_t kSetTransferMode = 0x03;
inline constexpr uint8_t kDisableReadAhead = 0x55;
inline constexpr uint8_t kKeepSettings = 0x66;
inline constexpr uint8_t kDisableWriteCache = 0x82;
inline constexpr uint8_t kEnableReadAhead = 0xaa;
inline constexpr uint8_t kRevertSettings = 0xcc;

// Whether a transfer mode of SET FEATURES is one of PIO, without or with flow control.
inline constexpr bool IsPioMode(uint8_t mode) { return mode <= 1 || (mode >= 8 && mode <= 12); }

// What the count register says while a packet command goes on (the interrupt reason).
inline constexpr uint8_t kIsCommand = 1 << 0;  // Else data.
inline constexpr uint8_t kToHost = 1 << 1;

inline constexpr size_t kSectorSize = 512;
inline constexpr size_t kCdSectorSize = 2048;
inline constexpr size_t kIdentifySize = 512;
inline constexpr size_t kPacketSize = 12;

}  // namespace hull::ata

#endif  // VMM_DEVICES_ATA_WIRE_H_
