#include "vmm/devices/vsock/byte_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

namespace hull::vsock {
namespace {

void Append(ByteQueue& queue, const std::string& data) {
  size_t done = 0;
  while (done < data.size()) {
    const std::span<uint8_t> room = queue.Append(data.size() - done);
    ASSERT_GT(room.size(), 0u);
    std::copy_n(data.begin() + done, room.size(), room.begin());
    done += room.size();
  }
}

// At most `limit` bytes of what Front shows.
std::string Peek(ByteQueue& queue, size_t limit) {
  std::array<iovec, 3> vectors;
  std::string result;
  const size_t count = queue.Front(vectors);
  for (size_t i = 0; i < count; ++i) {
    result.append(static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len);
  }
  return result.substr(0, limit);
}

TEST(ByteQueueTest, KeepsOrderThroughRandomAppendsAndPops) {
  std::mt19937 random(1);
  ByteQueue queue;
  std::string expected;
  size_t popped = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string data(random() % 20'000, '\0');
    for (char& c : data) c = static_cast<char>(random());
    Append(queue, data);
    expected += data;
    ASSERT_EQ(queue.size(), expected.size() - popped);
    const std::string front = Peek(queue, random() % 30'000);
    ASSERT_EQ(front, expected.substr(popped, front.size()));
    queue.Pop(front.size());
    popped += front.size();
  }
  ASSERT_GT(popped, 1'000'000u);
}

TEST(ByteQueueTest, TinyAppendsShareChunks) {
  ByteQueue queue;
  for (size_t i = 0; i < ByteQueue::kChunkSize + 1; ++i) Append(queue, "x");
  std::array<iovec, 8> vectors;
  EXPECT_EQ(queue.Front(vectors), 2u);
}

TEST(ByteQueueTest, PopsNoMoreThanThereIs) {
  ByteQueue queue;
  Append(queue, "abc");
  queue.Pop(10);
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.Append(0).empty());
  Append(queue, "de");
  EXPECT_EQ(Peek(queue, 10), "de");
  queue.Clear();
  EXPECT_EQ(queue.size(), 0u);
  std::array<iovec, 1> vectors;
  EXPECT_EQ(queue.Front(vectors), 0u);
}

}  // namespace
}  // namespace hull::vsock
