// What the guest and the host of the vsock benchmark send each other over one connection.
//
//   1. kRoundTrips times: the guest sends kMessage bytes, the host sends them back;
//   2. the guest sends kStream bytes, the host answers with one byte;
//   3. the host sends kStream bytes, the guest answers with one byte;
//   4. the host closes the connection, and only then the guest ends: a machine that restarts need
//   not
//      deliver what it has just been given.

#ifndef TESTS_BENCH_VSOCK_EXCHANGE_H_
#define TESTS_BENCH_VSOCK_EXCHANGE_H_

#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace hull::bench {

inline constexpr uint32_t kPort = 5000;
inline constexpr int kRoundTrips = 1000;
inline constexpr size_t kMessage = 64;
inline constexpr size_t kStream = 32 << 20;
// Of one read or write of a stream.
inline constexpr size_t kChunk = 64 << 10;

inline char exchange_buffer[kChunk];

inline bool SendAll(int fd, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, exchange_buffer, size < kChunk ? size : kChunk);
    if (n <= 0) return false;
    size -= static_cast<size_t>(n);
  }
  return true;
}

inline bool ReceiveAll(int fd, size_t size) {
  while (size > 0) {
    const ssize_t n = read(fd, exchange_buffer, size < kChunk ? size : kChunk);
    if (n <= 0) return false;
    size -= static_cast<size_t>(n);
  }
  return true;
}

inline bool GuestHalf(int fd) {
  for (int i = 0; i < kRoundTrips; ++i) {
    if (!SendAll(fd, kMessage) || !ReceiveAll(fd, kMessage)) return false;
  }
  return SendAll(fd, kStream) && ReceiveAll(fd, 1) && ReceiveAll(fd, kStream) && SendAll(fd, 1) &&
         read(fd, exchange_buffer, 1) == 0;
}

}  // namespace hull::bench

#endif  // TESTS_BENCH_VSOCK_EXCHANGE_H_
