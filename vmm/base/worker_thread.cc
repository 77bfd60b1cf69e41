#include "vmm/base/worker_thread.h"

#include <pthread.h>
#include <signal.h>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"

namespace hull {

absl::StatusOr<std::unique_ptr<WorkerThread>> WorkerThread::Start(
    std::string name, std::function<void(const EventFd& stop)> body) {
  HULL_ASSIGN_OR_RETURN(EventFd stop, EventFd::Create());
  std::unique_ptr<WorkerThread> worker(
      new WorkerThread(name.substr(0, 15), std::move(body), std::move(stop)));
  // Signals go to the thread that waits for them (the event loop), never to a worker. A new thread
  // inherits the mask, so block them across its creation.
  sigset_t all;
  sigset_t old;
  sigfillset(&all);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kThreadStackSize);
  // But for SIGSYS, which tells of a forbidden system call of the worker's own.
  sigdelset(&all, SIGSYS);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  const int error =
      pthread_create(&worker->thread_, &attributes, &WorkerThread::Entry, worker.get());
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  pthread_attr_destroy(&attributes);
  if (error != 0) return PosixError(error, absl::StrCat("start thread \"", name, "\""));
  worker->started_ = true;
  return worker;
}

void* WorkerThread::Entry(void* self) {
  const auto* const worker = static_cast<WorkerThread*>(self);
  pthread_setname_np(pthread_self(), worker->name_.c_str());
  worker->body_(worker->stop_);
  return nullptr;
}

WorkerThread::~WorkerThread() {
  if (!started_) return;
  stop_.Signal();
  pthread_join(thread_, nullptr);
}

}  // namespace hull
