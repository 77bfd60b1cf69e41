#include "guest-agent/stream.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

namespace hull::agent {
namespace {

// A pipe's capacity.
constexpr size_t kChunk = 64 * 1024;
// Moves in one turn, so that a busy stream does not keep the others and the host's messages
// waiting.
constexpr int kMovesPerTurn = 16;

enum class Moved { kAll, kWait, kEnd, kBroken };

// Moves until nothing more can be moved, `*limit` bytes have been, or the turn is over (kAll).
Moved Move(int from, int to, size_t* limit) {
  for (int i = 0; i < kMovesPerTurn; ++i) {
    if (*limit == 0) return Moved::kEnd;
    const ssize_t n = splice(from, nullptr, to, nullptr, std::min(kChunk, *limit),
                             SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n == 0) return Moved::kEnd;
    if (n < 0 && errno == EAGAIN) return Moved::kWait;
    if (n < 0 && errno != EINTR) return Moved::kBroken;
    if (n > 0 && *limit != SIZE_MAX) *limit -= static_cast<size_t>(n);
  }
  return Moved::kAll;
}

}  // namespace

Turn OutputStream::Run() {
  if (done()) return Turn::kDone;
  switch (Move(pipe_.get(), connection_, &limit_)) {
    case Moved::kAll:
      return Turn::kAgain;
    case Moved::kWait:
      return Turn::kWait;
    case Moved::kEnd:
      shutdown(connection_, SHUT_WR);
      break;
    case Moved::kBroken:
      break;
  }
  pipe_.Reset();
  return Turn::kDone;
}

void OutputStream::EndAfterPresent() {
  int present = 0;
  if (!done() && ioctl(pipe_.get(), FIONREAD, &present) == 0) limit_ = static_cast<size_t>(present);
}

Turn InputStream::Run() {
  if (done()) return Turn::kDone;
  size_t limit = SIZE_MAX;
  switch (Move(connection_, pipe_.get(), &limit)) {
    case Moved::kAll:
      return Turn::kAgain;
    case Moved::kWait:
      return Turn::kWait;
    case Moved::kEnd:
      break;
    case Moved::kBroken:
      shutdown(connection_, SHUT_RD);
      break;
  }
  pipe_.Reset();
  return Turn::kDone;
}

}  // namespace hull::agent
