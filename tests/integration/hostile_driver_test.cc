// Three vCPUs of a hostile guest (guests/hostile_driver.asm) against the whole machine, in this
// process, so that the sanitizers see what the VMM does. A hostile peer of the socket device helps.
//
// $HULL_HOSTILE_SECONDS is how long; `./hull fuzz hostile_driver SECONDS` sets it.

#include <fcntl.h>
#include <glog/logging.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/integration/vmm_process.h"
#include "vmm/base/unique_fd.h"
#include "vmm/machine/host_files.h"
#include "vmm/machine/host_sockets.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/spec.h"
#include "vmm/sandbox/broker.h"
#include "vmm/sandbox/seccomp.h"

namespace hull {
namespace {

constexpr absl::Duration kDefaultDuration = absl::Seconds(15);
// The working driver's next request is done within this, however slow KVM and the sanitizers are.
constexpr absl::Duration kBeatDeadline = absl::Seconds(60);

absl::Duration Duration() {
  const char* text = getenv("HULL_HOSTILE_SECONDS");
  int64_t seconds = 0;
  if (text == nullptr || !absl::SimpleAtoi(text, &seconds) || seconds < 1) return kDefaultDuration;
  return absl::Seconds(seconds);
}

// A process of the host that connects to the guest's ports, sends rubbish and goes away.
void MolestSocket(const std::string& path, std::mt19937& random) {
  const UniqueFd peer(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (connect(peer.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return;
  std::string text = random() % 2 == 0 ? absl::StrCat("CONNECT ", random() % 4, "\n") : "";
  text.resize(text.size() + random() % 300, static_cast<char>(random()));
  (void)send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

// A guest may cause a handful of lines of each kind, however long it goes on.
class LineCounter : public google::LogSink {
 public:
  LineCounter() { google::AddLogSink(this); }
  ~LineCounter() override { google::RemoveLogSink(this); }
  int lines() const { return lines_; }

 private:
  void send(google::LogSeverity, const char*, const char*, int, const tm*, const char*,
            size_t) override {
    ++lines_;
  }
  std::atomic<int> lines_{0};
};

TEST(HostileDriverTest, TheOtherDiskGoesOn) {
  TemporaryDirectory directory;
  for (const char* disk : {"victim", "working"}) {
    std::ofstream(directory.Path(disk)) << std::string(1 << 20, '\0');
  }
  machine::MachineSpec spec;
  spec.vcpus = 3;
  spec.memory_bytes = 32 << 20;
  spec.kernel = {DataFile("tests/integration/guests/hostile_driver.elf")};
  spec.block = {{.id = "victim", .file = {directory.Path("victim")}},
                {.id = "working", .file = {directory.Path("working")}}};
  spec.vsock = {.guest_cid = 3, .host_socket = directory.Path("vsock")};
  spec.rng = true;
  absl::StatusOr<machine::HostFiles> files = machine::HostFiles::Open(spec);
  ASSERT_TRUE(files.ok()) << files.status();
  absl::StatusOr<UniqueFd> listener = machine::ListenForHosts(spec.vsock->host_socket);
  ASSERT_TRUE(listener.ok()) << listener.status();
  files->vsock_listener = *std::move(listener);
  // A broker that takes no request, however many the guest makes it be asked.
  absl::StatusOr<sandbox::BrokerSockets> broker = sandbox::MakeBrokerSockets();
  ASSERT_TRUE(broker.ok()) << broker.status();
  files->vsock_connector = std::move(broker->requester);
  // Without the jail, which the sanitizers' own system calls would break.
  absl::StatusOr<std::unique_ptr<machine::Machine>> machine =
      machine::Machine::Create(spec, *std::move(files), [](sandbox::ThreadKind) {});
  ASSERT_TRUE(machine.ok()) << machine.status();

  const LineCounter log;
  uint64_t beats = 0;
  bool stuck = false;
  std::atomic<bool> ended{false};
  std::thread watcher([&] {
    const UniqueFd disk(open(directory.Path("working").c_str(), O_RDONLY | O_CLOEXEC));
    std::mt19937 random(1);
    const absl::Time end = absl::Now() + Duration();
    absl::Time last_beat = absl::Now();
    while (absl::Now() < end && !ended && !stuck) {
      uint64_t now = 0;
      ASSERT_EQ(pread(disk.get(), &now, sizeof(now), 0), static_cast<ssize_t>(sizeof(now)));
      if (now != beats) last_beat = absl::Now();
      beats = now;
      stuck = absl::Now() - last_beat > kBeatDeadline;
      MolestSocket(spec.vsock->host_socket, random);
      absl::SleepFor(absl::Milliseconds(20));
    }
    // As a user stops a machine.
    kill(getpid(), SIGTERM);
  });
  const Ending ending = (*machine)->Run();
  ended = true;
  watcher.join();
  EXPECT_EQ(ending.kind, Ending::Kind::kStopped) << ending.detail;
  EXPECT_FALSE(stuck) << "the working disk has not answered for " << kBeatDeadline;
  EXPECT_GT(beats, 10u);
  EXPECT_LT(log.lines(), 150) << "the guest can fill the host's log";
  RecordProperty("requests_of_the_working_disk", static_cast<int>(beats));
}

}  // namespace
}  // namespace hull
