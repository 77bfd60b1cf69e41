#include "vmm/emulated_host/qemu.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace hull::emulated_host {
namespace {

// In QEMU's option syntax a comma within a value is doubled.
std::string Escape(const std::string& value) { return absl::StrReplaceAll(value, {{",", ",,"}}); }

// What the guest kernel does without, because nothing here needs it and every bit of it takes time
// under emulation. panic=-1 with -no-reboot: a panic ends QEMU, which the supervisor reports.
constexpr char kKernelArguments[] =
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr apparmor=0 audit=0 nowatchdog "
    "random.trust_cpu=on cryptomgr.notests no_timer_check reboot=t";

// QEMU 7.2 lets XSETBV of a nested guest through to XCR0 without the exit that the hypervisor asked
// for. KVM then believes that the guest's XCR0 is still 1 and restores that at each entry, so that
// the guest's XSAVE loses the SSE registers. Without XSAVE, and so without AVX, guests use FXSAVE.
constexpr char kCpu[] = "EPYC-v2,+svm,+npt,-xsave,-xsaveopt,-xsavec,-xgetbv1,-avx,-avx2,-f16c,-fma";

}  // namespace

std::vector<std::string> QemuCommand(const QemuOptions& options) {
  std::vector<std::string> command = {
      "qemu-system-x86_64",
      "-name",
      "hull-emulated-host",
      "-nodefaults",
      "-no-user-config",
      "-display",
      "none",
      "-no-reboot",
      // What virtio devices on a plain PC do not need. 9p needs no more privileges than QEMU has.
      "-sandbox",
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
      "-machine",
      "q35,usb=off,vmport=off,smbus=off,sata=off",
      "-cpu",
      kCpu,
      "-m",
      absl::StrCat(options.memory_bytes >> 20, "M"),
  };
  const auto add = [&command](std::initializer_list<std::string> arguments) {
    command.insert(command.end(), arguments);
  };
  if (options.icount) {
    add({"-accel", "tcg,tb-size=512", "-icount", "shift=0,sleep=off", "-smp", "1"});
  } else {
    add({"-accel", "tcg,thread=multi,tb-size=512", "-smp", absl::StrCat(options.cpus)});
  }
  add({"-kernel", options.kernel, "-initrd", options.initramfs, "-append", kKernelArguments});
  add({"-fsdev", "local,id=host,path=/,security_model=none,multidevs=remap", "-device",
       "virtio-9p-pci,fsdev=host,mount_tag=host"});
  // A full disk stops the machine (werror=enospc) and is reported by an event, so that nothing
  // inside is told that its data is lost when it is not.
  add({"-drive",
       absl::StrCat(
           "if=none,id=data,format=raw,discard=unmap,detect-zeroes=off,werror=enospc,file=",
           Escape(options.data_disk)),
       "-device", "virtio-blk-pci,drive=data"});
  add({"-chardev", absl::StrCat("socket,id=link,fd=", options.link_fd), "-device",
       "virtio-serial-pci,max_ports=2", "-device", "virtserialport,chardev=link,name=hull"});
  add({"-object", "rng-random,id=entropy,filename=/dev/urandom", "-device",
       "virtio-rng-pci,rng=entropy"});
  // Memory that the inner kernel has freed goes back to the outer one.
  add({"-device", "virtio-balloon-pci,free-page-reporting=on"});
  add({"-chardev", absl::StrCat("socket,id=monitor,fd=", options.monitor_fd), "-mon",
       "chardev=monitor,mode=control"});
  add({"-chardev", absl::StrCat("socket,id=console,fd=", options.console_fd), "-device",
       "isa-serial,chardev=console"});
  return command;
}

bool IsNoSpaceEvent(absl::string_view line) {
  // One object a line, in QEMU's own spacing; the words cannot occur in another event's strings.
  return absl::StrContains(line, "\"BLOCK_IO_ERROR\"") &&
         absl::StrContains(line, "\"nospace\": true");
}

}  // namespace hull::emulated_host
