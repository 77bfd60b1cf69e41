#include "vmm/base/worker_thread.h"

#include <pthread.h>
#include <signal.h>

#include "vmm/base/status_macros.h"

namespace hull {

absl::StatusOr<std::unique_ptr<WorkerThread>> WorkerThread::Start(
    std::string name, std::function<void(const EventFd& stop)> body) {
  HULL_ASSIGN_OR_RETURN(EventFd stop, EventFd::Create());
  std::unique_ptr<WorkerThread> worker(new WorkerThread(std::move(stop)));
  // Signals go to the thread that waits for them (the event loop), never to a worker. A new thread
  // inherits the mask, so block them across its creation.
  sigset_t all;
  sigset_t old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  worker->thread_ =
      std::thread([&stop = worker->stop_, name = name.substr(0, 15), body = std::move(body)] {
        pthread_setname_np(pthread_self(), name.c_str());
        body(stop);
      });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  return worker;
}

WorkerThread::~WorkerThread() {
  stop_.Signal();
  if (thread_.joinable()) thread_.join();
}

}  // namespace hull
