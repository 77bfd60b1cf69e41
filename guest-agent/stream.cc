#include "guest-agent/stream.h"

#include <fcntl.h>
#include <sys/socket.h>

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

// Moves until nothing more can be moved or the turn is over (kAll).
Moved Move(int from, int to) {
  for (int i = 0; i < kMovesPerTurn; ++i) {
    const ssize_t n = splice(from, nullptr, to, nullptr, kChunk, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n == 0) return Moved::kEnd;
    if (n < 0 && errno == EAGAIN) return Moved::kWait;
    if (n < 0 && errno != EINTR) return Moved::kBroken;
  }
  return Moved::kAll;
}

}  // namespace

Turn OutputStream::Run() {
  if (done()) return Turn::kDone;
  switch (Move(pipe_.get(), connection_)) {
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

Turn InputStream::Run() {
  if (done()) return Turn::kDone;
  switch (Move(connection_, pipe_.get())) {
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
