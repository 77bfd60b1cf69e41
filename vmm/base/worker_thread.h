// A joined thread with a stop event.

#ifndef VMM_BASE_WORKER_THREAD_H_
#define VMM_BASE_WORKER_THREAD_H_

#include <pthread.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "vmm/base/event_fd.h"

namespace hull {

// Runs `body(stop)` on a thread of its own until it returns. The destructor signals `stop` and
// joins, so the body must watch `stop` wherever it waits. The thread is one of StartThread
// (thread.h).
class WorkerThread {
 public:
  // `name` is shown by ps and gdb; at most 15 characters (longer ones are cut).
  static absl::StatusOr<std::unique_ptr<WorkerThread>> Start(
      std::string name, std::function<void(const EventFd& stop)> body);

  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;
  ~WorkerThread();

  // Asks the body to return; does not wait. Any thread.
  void RequestStop() const { stop_.Signal(); }

 private:
  WorkerThread(std::string name, std::function<void(const EventFd& stop)> body, EventFd stop)
      : name_(std::move(name)), body_(std::move(body)), stop_(std::move(stop)) {}
  static void* Entry(void* self);

  const std::string name_;
  const std::function<void(const EventFd& stop)> body_;
  const EventFd stop_;
  std::optional<pthread_t> thread_;
};

}  // namespace hull

#endif  // VMM_BASE_WORKER_THREAD_H_
