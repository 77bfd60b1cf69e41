// A joined thread with a stop event.

#ifndef VMM_BASE_WORKER_THREAD_H_
#define VMM_BASE_WORKER_THREAD_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "vmm/base/event_fd.h"

namespace hull {

// Runs `body(stop)` on a thread of its own until it returns. The destructor signals `stop` and
// joins, so the body must watch `stop` wherever it waits. Signals are blocked in the thread.
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
  explicit WorkerThread(EventFd stop) : stop_(std::move(stop)) {}
  const EventFd stop_;
  std::thread thread_;
};

}  // namespace hull

#endif  // VMM_BASE_WORKER_THREAD_H_
