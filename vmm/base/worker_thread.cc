#include "vmm/base/worker_thread.h"

#include "vmm/base/status_macros.h"
#include "vmm/base/thread.h"

namespace hull {

absl::StatusOr<std::unique_ptr<WorkerThread>> WorkerThread::Start(
    std::string name, std::function<void(const EventFd& stop)> body) {
  HULL_ASSIGN_OR_RETURN(EventFd stop, EventFd::Create());
  std::unique_ptr<WorkerThread> worker(
      new WorkerThread(name.substr(0, 15), std::move(body), std::move(stop)));
  HULL_ASSIGN_OR_RETURN(worker->thread_, StartThread(name, &WorkerThread::Entry, worker.get()));
  return worker;
}

void* WorkerThread::Entry(void* self) {
  const auto* const worker = static_cast<WorkerThread*>(self);
  pthread_setname_np(pthread_self(), worker->name_.c_str());
  worker->body_(worker->stop_);
  return nullptr;
}

WorkerThread::~WorkerThread() {
  if (!thread_.has_value()) return;
  stop_.Signal();
  pthread_join(*thread_, nullptr);
}

}  // namespace hull
