#include "vmm/container/process_streams.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/status/statusor.h"

namespace hull::container {

ProcessStreams::ProcessStreams(EventLoop* loop, Handler* handler, bool attach_stdin,
                               bool standard_error)
    : loop_(loop),
      handler_(handler),
      attach_stdin_(attach_stdin),
      buffer_(new char[kMaxAttachFrame]) {
  if (!standard_error) err_.connected = err_.ended = true;
}

ProcessStreams::~ProcessStreams() {
  for (Stream* stream : {&out_, &err_}) {
    if (stream->socket.valid()) loop_->RemoveFd(stream->watch);
  }
}

void ProcessStreams::Open(AttachType type, UniqueFd socket) {
  Stream* const stream = type == AttachType::kStandardOutput ? &out_ : &err_;
  if (stream->connected) return;
  stream->connected = true;
  absl::StatusOr<EventLoop::Id> watch = loop_->AddFd(
      socket.get(), EPOLLIN, [this, stream](uint32_t events) { OnEvents(stream, events); });
  if (!watch.ok()) {
    // Nobody will ever hear of its end.
    stream->ended = true;
    return handler_->OnStreamError(this, watch.status());
  }
  stream->socket = std::move(socket);
  stream->watch = *watch;
  stream->events = EPOLLIN;
  if (stream == &out_) PumpStdin();
  Update();
  if (stream->unwanted) CloseOutput(type);
}

void ProcessStreams::OnEvents(Stream* stream, uint32_t events) {
  if (stream == &out_ && (events & EPOLLOUT)) PumpStdin();
  if (!stream->socket.valid() || (events & ~static_cast<uint32_t>(EPOLLOUT)) == 0) return;
  // EPOLLHUP and EPOLLERR come unasked. The other direction may be what ended.
  if (stream->ended) return Close(stream);
  if (!handler_->HasRoom(this)) return;
  const ssize_t n = read(stream->socket.get(), buffer_.get() + 1, kMaxAttachPayload);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return End(stream);
  buffer_[0] = static_cast<char>(stream->type);
  handler_->OnOutput(this, absl::string_view(buffer_.get(), static_cast<size_t>(n) + 1));
  if (!handler_->HasRoom(this)) Update();
}

// Nothing more comes from the guest on it. Standard input may still go the other way.
void ProcessStreams::End(Stream* stream) {
  stream->ended = true;
  if (stream == &out_ && !process_gone_) {
    Update();
  } else {
    Close(stream);
  }
  handler_->OnOutputEnd(this);
}

void ProcessStreams::Close(Stream* stream) {
  if (!stream->socket.valid()) return;
  stream->ended = true;
  loop_->RemoveFd(stream->watch);
  stream->socket.Reset();
  if (stream == &out_) PumpStdin();  // what waits is dropped
}

// Closing makes the writer get SIGPIPE; while standard input is in use, only the direction is shut.
void ProcessStreams::CloseOutput(AttachType type) {
  Stream* const stream = type == AttachType::kStandardOutput ? &out_ : &err_;
  stream->unwanted = true;
  if (!stream->socket.valid()) return;
  if (stream == &out_ && attach_stdin_ && !stdin_shut_) {
    shutdown(stream->socket.get(), SHUT_RD);
    return;  // reads as its end
  }
  Close(stream);
  handler_->OnOutputEnd(this);
}

// Which events each stream waits for: none from the guest while nobody has room, which in turn
// stops the process that writes.
void ProcessStreams::Update() {
  const bool room = handler_->HasRoom(this);
  for (Stream* stream : {&out_, &err_}) {
    if (!stream->socket.valid()) continue;
    uint32_t events = 0;
    if (room && !stream->ended) events |= EPOLLIN;
    if (stream == &out_ && !stdin_.empty()) events |= EPOLLOUT;
    if (events == stream->events) continue;
    stream->events = events;
    const absl::Status status = loop_->ModifyFd(stream->watch, events);
    if (!status.ok()) return handler_->OnStreamError(this, status);
  }
}

void ProcessStreams::AcceptStdin(uint32_t client, absl::string_view data) {
  stdin_.append(data.data(), data.size());
  stdin_owners_.push_back({.client = client, .bytes = data.size()});
  PumpStdin();
}

void ProcessStreams::EndStdin() {
  stdin_ended_ = true;
  PumpStdin();
}

void ProcessStreams::PumpStdin() {
  const bool gone = out_.connected && !out_.socket.valid();
  // Nobody will read it; the client goes on as if somebody did, as with a pipe to /dev/null.
  if (gone || !attach_stdin_) return TakeStdin(stdin_.size());
  if (!out_.socket.valid()) return;
  while (!stdin_.empty()) {
    const ssize_t n = send(out_.socket.get(), stdin_.data(), stdin_.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    // An error: the process has closed its input, and the rest is for nobody. Or it is this side
    // that could not send (ENOBUFS): input with a hole in it must not look whole.
    if (n < 0 && errno != EPIPE && errno != ECONNRESET) shutdown(out_.socket.get(), SHUT_RDWR);
    TakeStdin(n < 0 ? stdin_.size() : static_cast<size_t>(n));
  }
  if (stdin_.empty() && stdin_ended_ && !stdin_shut_) {
    stdin_shut_ = true;
    shutdown(out_.socket.get(), SHUT_WR);
  }
  Update();
}

void ProcessStreams::TakeStdin(size_t bytes) {
  stdin_.erase(0, bytes);
  while (bytes > 0) {
    Owner& owner = stdin_owners_.front();
    const size_t taken = std::min(bytes, owner.bytes);
    const uint32_t client = owner.client;
    bytes -= taken;
    owner.bytes -= taken;
    if (owner.bytes == 0) stdin_owners_.pop_front();
    handler_->OnStdinTaken(this, client, taken);
  }
}

}  // namespace hull::container
