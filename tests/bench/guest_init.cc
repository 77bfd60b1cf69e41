// PID 1 of a guest that the benchmark boots without Hull's agent: in QEMU, and where hull-vmm and
// QEMU are to do the same work.
//
// Its one argument is what the kernel's command line has after "--":
//   reset   restart the machine at once
//   idle    do nothing for ever
//   fio     /dev/vda is an EROFS root with fio and jobs.fio; run those, with the report to /dev/vdc
//   vsock   the guest's half of vsock_exchange.h
// After fio and vsock the machine restarts: what hull-vmm says with a status of its own, and what
// ends QEMU's microvm (-no-reboot), which has no power button.

#include <linux/vm_sockets.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "tests/bench/vsock_exchange.h"

namespace {

constexpr char kRoot[] = "/root";

bool Check(bool good, const char* what) {
  if (!good) std::perror(what);
  return good;
}

bool RunFio() {
  mkdir(kRoot, 0755);
  mkdir("/dev", 0755);
  if (!Check(mount("dev", "/dev", "devtmpfs", 0, nullptr) == 0, "mount /dev") ||
      !Check(mount("/dev/vda", kRoot, "erofs", MS_RDONLY, nullptr) == 0, "mount /dev/vda") ||
      !Check(chroot(kRoot) == 0 && chdir("/") == 0, "chroot") ||
      !Check(mount("dev", "/dev", "devtmpfs", 0, nullptr) == 0, "mount /dev") ||
      !Check(mount("proc", "/proc", "proc", 0, nullptr) == 0, "mount /proc") ||
      !Check(mount("sys", "/sys", "sysfs", 0, nullptr) == 0, "mount /sys") ||
      !Check(mount("tmp", "/tmp", "tmpfs", 0, nullptr) == 0, "mount /tmp")) {
    return false;
  }
  const pid_t child = fork();
  if (child == 0) {
    execl("/fio", "fio", "--output-format=json", "--output=/dev/vdc", "/jobs.fio", nullptr);
    std::perror("fio");
    _exit(127);
  }
  int status = 0;
  return Check(child > 0 && waitpid(child, &status, 0) == child && status == 0, "fio");
}

bool Exchange() {
  const int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  sockaddr_vm host = {};
  host.svm_family = AF_VSOCK;
  host.svm_cid = VMADDR_CID_HOST;
  host.svm_port = hull::bench::kPort;
  // SAFETY: the generic form in which connect(2) takes every address.
  return Check(connect(fd, reinterpret_cast<sockaddr*>(&host), sizeof(host)) == 0, "connect") &&
         Check(hull::bench::GuestHalf(fd), "exchange");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view task = argc > 1 ? argv[1] : "";
  while (task == "idle") pause();
  if (task == "fio") RunFio();
  if (task == "vsock") Exchange();
  sync();
  return reboot(RB_AUTOBOOT);
}
