// The agent's epoll set.

#ifndef GUEST_AGENT_POLLER_H_
#define GUEST_AGENT_POLLER_H_

#include <sys/epoll.h>

#include <cstdint>

#include "guest-agent/fd.h"

namespace hull::agent {

// Edge-triggered, for both directions: whoever is told tries until EAGAIN. A descriptor leaves the
// set when it is closed.
class Poller {
 public:
  // False: errno says why.
  bool Create() {
    epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
    return epoll_.valid();
  }
  bool Add(int fd, uint64_t tag) const {
    epoll_event event = {};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = tag;
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }
  // As epoll_wait(2).
  int Wait(epoll_event* events, int max, int timeout_ms) const {
    return epoll_wait(epoll_.get(), events, max, timeout_ms);
  }

 private:
  Fd epoll_;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_POLLER_H_
