// The least that a VMM does: what part two of the benchmark holds hull-vmm against.
//
//   floor FIRMWARE
//
// Makes a VM with an in-kernel interrupt controller, 128 MiB of memory and one vCPU, starts it at
// the reset vector of FIRMWARE (at most 64 KiB in whole pages, its end at 4 GiB) and exits with
// status 0 when the guest writes 1 to the exit port 0x501. No threads, no parsing, no devices, no
// clean-up, and only the calls without which this guest would not run.

#include <fcntl.h>
// The only includer besides vmm/kvm, which is part of what is measured; nothing here has the
// flexible arrays that this header gets wrong in C++.
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

constexpr uint64_t kMemory = 128 << 20;
constexpr uint16_t kExitPort = 0x501;

// The result of a system call, or the end of the program.
int Need(int result, const char* what) {
  if (result >= 0) return result;
  std::perror(what);
  std::exit(1);
}

void* Map(uint64_t size, int protection, int flags, int fd) {
  void* at = mmap(nullptr, size, protection, flags, fd, 0);
  if (at != MAP_FAILED) return at;
  std::perror("mmap");
  std::exit(1);
}

void SetMemory(int vm, uint32_t slot, uint32_t flags, uint64_t address, uint64_t size, void* at) {
  kvm_userspace_memory_region region = {};
  region.slot = slot;
  region.flags = flags;
  region.guest_phys_addr = address;
  region.memory_size = size;
  region.userspace_addr = reinterpret_cast<uintptr_t>(at);
  Need(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: floor FIRMWARE\n", stderr);
    return 2;
  }
  const int firmware = Need(open(argv[1], O_RDONLY | O_CLOEXEC), argv[1]);
  struct stat file;
  Need(fstat(firmware, &file), "fstat");
  const auto firmware_size = static_cast<uint64_t>(file.st_size);

  const int kvm = Need(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
  const int vm = Need(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
  Need(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
  SetMemory(vm, 0, 0, 0, kMemory,
            Map(kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1));
  SetMemory(vm, 1, KVM_MEM_READONLY, (uint64_t{1} << 32) - firmware_size, firmware_size,
            Map(firmware_size, PROT_READ, MAP_PRIVATE, firmware));
  const int vcpu = Need(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
  const int run_size = Need(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
  // SAFETY: the kernel's page of this layout; run_size covers it.
  auto* run = static_cast<kvm_run*>(
      Map(static_cast<uint64_t>(run_size), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu));
  Need(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
  if (run->exit_reason != KVM_EXIT_IO || run->io.port != kExitPort) {
    std::fprintf(stderr, "floor: the guest ended with exit reason %u\n", run->exit_reason);
    return 1;
  }
  return 0;
}
