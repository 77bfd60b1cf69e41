// The server of a container's display: accepts clients, has each served by a process of its own,
// and speaks for them to the machine.

#ifndef VMM_DISPLAY_SERVER_H_
#define VMM_DISPLAY_SERVER_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/display/machine.h"
#include "vmm/display/shared_screen.h"
#include "vmm/event/event_loop.h"

namespace hull::display {

// Further ones are closed at once.
inline constexpr size_t kMaxClients = 4;

class Server : public Machine::Handler {
 public:
  struct Options {
    UniqueFd listener = {};  // a listening TCP socket that does not block
    UniqueFd monitor = {};   // a connection to the container's monitor
    std::string password = {};
    // What the process of a client does before it hears its client: it enters its sandbox.
    std::function<absl::Status()> confine_client = {};
  };

  static absl::StatusOr<std::unique_ptr<Server>> Create(Options options);
  ~Server() override;

  // Serves until the container has ended.
  absl::Status Run();

 private:
  // A process that serves a client.
  struct Client {
    pid_t pid = 0;
    UniqueFd input;  // its end is the client's, or the process's
    EventLoop::Id watch = 0;
  };

  explicit Server(Options options) : options_(std::move(options)) {}
  void OnPicture(const container::Picture& picture) override;
  void OnEnd() override;
  void Accept();
  // In the child: does not return.
  [[noreturn]] void ServeInChild(UniqueFd client, UniqueFd input);
  void OnInput(uint64_t id);
  void Pass(absl::string_view message);
  void Reap();

  Options options_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<SharedScreen> screen_;
  std::unique_ptr<Machine> machine_;
  EventLoop::Id watch_ = 0;
  uint64_t next_client_ = 1;
  std::map<uint64_t, Client> clients_;
  bool reaping_ = false;
  // Processes whose client has gone and that have yet to end.
  std::vector<pid_t> ending_;
};

}  // namespace hull::display

#endif  // VMM_DISPLAY_SERVER_H_
