#include "vmm/devices/vsock/byte_queue.h"

#include <algorithm>

namespace hull::vsock {

std::span<uint8_t> ByteQueue::Append(size_t wanted) {
  if (wanted == 0) return {};
  if (chunks_.empty() || chunks_.back().end == kChunkSize) chunks_.emplace_back();
  Chunk& chunk = chunks_.back();
  const size_t room = std::min(wanted, kChunkSize - chunk.end);
  const std::span<uint8_t> appended = std::span(chunk.bytes).subspan(chunk.end, room);
  chunk.end += room;
  size_ += room;
  return appended;
}

size_t ByteQueue::Front(std::span<iovec> out) {
  size_t count = 0;
  for (Chunk& chunk : chunks_) {
    if (count == out.size()) break;
    out[count++] = iovec{chunk.bytes.data() + chunk.begin, chunk.end - chunk.begin};
  }
  return count;
}

void ByteQueue::Pop(size_t count) {
  count = std::min(count, size_);
  size_ -= count;
  while (count > 0) {
    Chunk& chunk = chunks_.front();
    const size_t taken = std::min(count, chunk.end - chunk.begin);
    chunk.begin += taken;
    count -= taken;
    if (chunk.begin == chunk.end) chunks_.pop_front();
  }
}

void ByteQueue::Clear() {
  chunks_.clear();
  size_ = 0;
}

}  // namespace hull::vsock
