// One container's hull-vmm as its monitor sees it: started with the files that it needs already
// open, watched, killed and waited for.

#ifndef VMM_CONTAINER_VMM_PROCESS_H_
#define VMM_CONTAINER_VMM_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/base/unique_fd.h"
#include "vmm/container/config.h"
#include "vmm/container/machine_builder.h"
#include "vmm/container/spawn.h"
#include "vmm/event/event_loop.h"
#include "vmm/sandbox/cgroup.h"
#include "vmm/sandbox/user_range.h"

namespace hull::container {

// What the machine is made of.
struct MachineFiles {
  std::string vmm;        // the program hull-vmm
  std::string kernel;     // vmlinux
  std::string initramfs;  // with the agent as /init
  // Of pc machines: SeaBIOS and its VGA BIOS.
  std::string firmware = {};
  std::string video_firmware = {};
};

struct VmmOptions {
  MachineFiles files;
  // Of which the VMM gets a user of its own, where this process is root.
  sandbox::UserRange users = sandbox::kDefaultUserRange;
  std::string users_lock;     // path of the file that says which of them are in use
  std::string run_directory;  // the container's: machine.json is written there
  // Whether a container of this id is alive: what is left of others is cleared away.
  std::function<bool(absl::string_view id)> is_alive;
  int connector = -1;  // where connections for the guest come from (vmm/sandbox/broker.h)
  std::string layer;   // path of the disk that takes the container's writes; empty: none
  // Of a pc machine: its end of the control socket, in place of the connector, and its own disk.
  int control = -1;
  std::string disk = {};
  // Paths of the volumes' disks, of Config::mounts one each; not looked at where that is no volume.
  std::vector<std::string> volumes = {};
};

// Belongs to the loop's thread, as its handler does.
class VmmProcess {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // The machine is over: wait_status() and last_words() are complete. Called once.
    virtual void OnMachineEnd() = 0;
    // A piece of the guest's serial console, as a whole attach frame of type kConsole.
    virtual void OnConsole(absl::string_view frame) = 0;
    virtual void OnConsoleEnd() = 0;
    // The vCPUs have paused, or go on: the answer to the last SetPaused().
    virtual void OnPaused(bool paused) = 0;
  };

  // Both outlive this.
  VmmProcess(EventLoop* loop, Handler* handler);
  VmmProcess(const VmmProcess&) = delete;
  VmmProcess& operator=(const VmmProcess&) = delete;
  ~VmmProcess();

  // Once. After an error there may be a process all the same: Kill() and Wait().
  absl::Status Start(const Config& config, const VmmOptions& options);

  pid_t pid() const { return pid_; }  // 0: there never was one
  bool ended() const { return ended_; }
  bool killed() const { return killed_; }  // by Kill()
  // As waitpid(2) has it.
  int wait_status() const { return status_; }
  // The end of what it wrote to standard error.
  const std::string& last_words() const { return last_words_text_; }
  bool console_open() const { return console_.valid(); }

  void Kill();
  // Asks the VMM to end its machine: what the guest handed over is written first.
  void Terminate();
  // Blocks until the process is gone: for a monitor whose loop does not run any more.
  void Wait();
  // For a machine that is over: nothing is left of it afterwards, its control group included. Waits
  // for the kernel to dissolve the VM if there is such a group, which is busy until then.
  void ClearAway();
  // The directory in which that is to remove one; empty: none.
  std::string cgroup_parent() const { return cgroup_.has_value() ? cgroup_->parent() : ""; }
  // Asks the machine to pause or to go on. Nothing for one that is over.
  void SetPaused(bool paused);
  // Pieces of the console come only while it is not paused.
  absl::Status PauseConsole(bool paused);

 private:
  // Adds what a machine of that model inherits to `spawn`, from descriptor 4 on.
  absl::Status AddMicroFiles(const Config& config, const VmmOptions& options, SpawnOptions* spawn,
                             MachineDescriptors* descriptors);
  absl::Status AddPcFiles(const Config& config, const VmmOptions& options, SpawnOptions* spawn,
                          MachineDescriptors* descriptors);
  absl::StatusOr<pid_t> SpawnInCgroup(const Config& config, const VmmOptions& options,
                                      SpawnOptions spawn);
  void SendSignal(int signal);
  void Reap();
  void OnProcessEnd();
  void ReadReport();
  void ReadConsole();
  void ReadPause();
  bool ReadLastWords();
  void EndMachine();

  EventLoop* const loop_;
  Handler* const handler_;
  // For whatever is being passed on at the moment; not cleared at the start.
  const std::unique_ptr<char[]> buffer_;
  sandbox::ClaimedUser user_;
  std::optional<sandbox::Cgroup> cgroup_;
  pid_t pid_ = 0;
  bool reaped_ = false;
  std::vector<UniqueFd> inherited_;  // until the VMM has them
  UniqueFd process_;                 // pidfd
  EventLoop::Id process_watch_ = 0;
  bool ended_ = false;
  bool killed_ = false;
  int status_ = 0;
  UniqueFd report_;
  EventLoop::Id report_watch_ = 0;
  UniqueFd last_words_;
  EventLoop::Id last_words_watch_ = 0;
  std::string last_words_text_;
  UniqueFd pause_;
  EventLoop::Id pause_watch_ = 0;
  bool pause_wanted_ = false;
  UniqueFd console_;
  EventLoop::Id console_watch_ = 0;
  bool console_paused_ = false;
};

}  // namespace hull::container

#endif  // VMM_CONTAINER_VMM_PROCESS_H_
