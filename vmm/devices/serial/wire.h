// The registers of a 16550A UART, as far as Linux's 8250 driver and firmware use them.
//
// National Semiconductor PC16550D data sheet, table II.

#ifndef VMM_DEVICES_SERIAL_WIRE_H_
#define VMM_DEVICES_SERIAL_WIRE_H_

#include <cstdint>

namespace hull::serial {

inline constexpr uint64_t kRegisterCount = 8;  // One byte each.

// Offsets. With LCR bit 7 (DLAB) set, the first two are the divisor latch.
inline constexpr uint8_t kData = 0;               // Receive buffer / transmit holding.
inline constexpr uint8_t kInterruptEnable = 1;    // IER
inline constexpr uint8_t kInterruptIdentity = 2;  // IIR (read)
inline constexpr uint8_t kFifoControl = 2;        // FCR (write)
inline constexpr uint8_t kLineControl = 3;        // LCR
inline constexpr uint8_t kModemControl = 4;       // MCR
inline constexpr uint8_t kLineStatus = 5;         // LSR
inline constexpr uint8_t kModemStatus = 6;        // MSR
inline constexpr uint8_t kScratch = 7;

inline constexpr uint8_t kIerReceived = 1 << 0;
inline constexpr uint8_t kIerTransmitterEmpty = 1 << 1;
inline constexpr uint8_t kIerMask = 0x0f;

inline constexpr uint8_t kIirNone = 0x01;
inline constexpr uint8_t kIirTransmitterEmpty = 0x02;
inline constexpr uint8_t kIirReceived = 0x04;
inline constexpr uint8_t kIirFifoEnabled = 0xc0;

inline constexpr uint8_t kFcrEnable = 1 << 0;
inline constexpr uint8_t kFcrClearReceive = 1 << 1;

inline constexpr uint8_t kLcrDivisorLatch = 1 << 7;

inline constexpr uint8_t kMcrDataTerminalReady = 1 << 0;
inline constexpr uint8_t kMcrRequestToSend = 1 << 1;
inline constexpr uint8_t kMcrOut1 = 1 << 2;
inline constexpr uint8_t kMcrOut2 = 1 << 3;
inline constexpr uint8_t kMcrLoop = 1 << 4;

inline constexpr uint8_t kLsrDataReady = 1 << 0;
inline constexpr uint8_t kLsrTransmitterEmpty = (1 << 5) | (1 << 6);

inline constexpr uint8_t kMsrClearToSend = 1 << 4;
inline constexpr uint8_t kMsrDataSetReady = 1 << 5;
inline constexpr uint8_t kMsrRing = 1 << 6;
inline constexpr uint8_t kMsrCarrier = 1 << 7;

}  // namespace hull::serial

#endif  // VMM_DEVICES_SERIAL_WIRE_H_
