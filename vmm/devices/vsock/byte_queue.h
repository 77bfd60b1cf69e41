// Bytes that wait for a slow reader.

#ifndef VMM_DEVICES_VSOCK_BYTE_QUEUE_H_
#define VMM_DEVICES_VSOCK_BYTE_QUEUE_H_

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>

namespace hull::vsock {

// A first-in, first-out queue of bytes in chunks of fixed size, so that a sender of many tiny
// packets costs no more memory than one of few large ones: at most size() plus two chunks. Empty,
// it owns nothing. Not thread-safe.
class ByteQueue {
 public:
  static constexpr size_t kChunkSize = size_t{16} * 1024;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Appends up to `wanted` bytes of room and returns it, at least one byte if `wanted` is not 0:
  // the caller fills all of it. Call again for the rest.
  std::span<uint8_t> Append(size_t wanted);

  // Fills `out` with the first bytes, for a vectored system call; returns how many entries were
  // set.
  size_t Front(std::span<iovec> out);

  // Removes the first `count` bytes (at most size()).
  void Pop(size_t count);

  void Clear();

 private:
  struct Chunk {
    // Not zeroed: every byte is written before it is read.
    Chunk() {}
    size_t begin = 0;
    size_t end = 0;
    std::array<uint8_t, kChunkSize> bytes;
  };

  std::list<Chunk> chunks_;  // None is empty.
  size_t size_ = 0;
};

}  // namespace hull::vsock

#endif  // VMM_DEVICES_VSOCK_BYTE_QUEUE_H_
