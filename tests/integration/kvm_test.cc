// The KVM wrappers and the vCPU thread on the real /dev/kvm, with guests of a few bytes of
// real-mode code.

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/base/event_fd.h"
#include "vmm/bus/bus.h"
#include "vmm/kvm/system.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vm.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/vcpu/vcpu_thread.h"

namespace hull {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(60);
constexpr uint64_t kCodeAddress = 0x1000;

// One vCPU in real mode with 64 KiB of memory.
class RealMode {
 public:
  explicit RealMode(std::span<const uint8_t> code)
      : system_(*kvm::System::Open()),
        memory_(*GuestMemory::Create(
            std::array{GuestMemory::Range{.start = GuestAddress{0}, .size = 0x10000}})),
        vm_(*system_.CreateVm()) {
    EXPECT_TRUE(vm_.SetTssAddress(0xfffbd000).ok());
    EXPECT_TRUE(vm_.CreateIrqChip().ok());
    EXPECT_TRUE(vm_.MapMemory(memory_).ok());
    EXPECT_TRUE(memory_.Write(GuestAddress{kCodeAddress}, code).ok());
    vcpu_ = *vm_.CreateVcpu(0);
    kvm_sregs sregs = *vcpu_->GetSregs();
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    EXPECT_TRUE(vcpu_->SetSregs(sregs).ok());
    kvm_regs regs = *vcpu_->GetRegs();
    regs.rip = kCodeAddress;
    regs.rsp = 0x8000;
    regs.rflags = 2;
    EXPECT_TRUE(vcpu_->SetRegs(regs).ok());
  }

  // Protected mode without a usable interrupt table, in which any fault is a triple fault. (In real
  // mode, KVM's instruction emulator takes vectors from memory whatever the table's limit is.)
  void DropInterruptTable() {
    kvm_sregs sregs = *vcpu_->GetSregs();
    sregs.cr0 |= 1;
    sregs.idt.limit = 0;
    EXPECT_TRUE(vcpu_->SetSregs(sregs).ok());
  }

  // Runs to the next exit that is not an interruption.
  kvm::VcpuExit Run() {
    while (true) {
      auto exit = vcpu_->Run();
      EXPECT_TRUE(exit.ok()) << exit.status();
      if (!exit.ok()) return kvm::InternalErrorExit{};
      if (!std::holds_alternative<kvm::InterruptedExit>(*exit)) return *std::move(exit);
    }
  }
  kvm::Vm& vm() { return vm_; }
  kvm::Vcpu& vcpu() { return *vcpu_; }
  kvm::Vcpu TakeVcpu() { return *std::move(vcpu_); }
  const GuestMemory& memory() { return memory_; }
  const kvm::System& system() { return system_; }

 private:
  kvm::System system_;
  GuestMemory memory_;
  kvm::Vm vm_;
  std::optional<kvm::Vcpu> vcpu_;
};

void ExpectPortWrite(const kvm::VcpuExit& exit, uint16_t port, std::vector<uint8_t> data) {
  const auto* access = std::get_if<kvm::PortExit>(&exit);
  ASSERT_NE(access, nullptr) << "exit of kind " << exit.index();
  EXPECT_TRUE(access->is_write);
  EXPECT_EQ(access->port, port);
  EXPECT_EQ(std::vector<uint8_t>(access->data.begin(), access->data.end()), data);
}

TEST(KvmTest, Cpuid) {
  const auto system = kvm::System::Open();
  ASSERT_TRUE(system.ok()) << system.status();
  auto supported = system->SupportedCpuid();
  ASSERT_TRUE(supported.ok()) << supported.status();
  ASSERT_GT(supported->size(), 5u);
  EXPECT_EQ((*supported)[0].function, 0u);
  EXPECT_GE((*supported)[0].eax, 1u);
  // "KVMKVMKVM", where the layout of the table is right.
  bool found = false;
  for (const kvm_cpuid_entry2& entry : *supported) {
    found |= entry.function == 0x40000000 && entry.ebx == 0x4b4d564b && entry.ecx == 0x564b4d56;
  }
  EXPECT_TRUE(found);

  auto vm = *system->CreateVm();
  auto vcpu = *vm.CreateVcpu(0);
  (*supported)[0].ecx = 0x12345678;
  ASSERT_TRUE(vcpu.SetCpuid(*supported).ok());
  const auto got = vcpu.GetCpuid();
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_FALSE(got->empty());
  EXPECT_EQ((*got)[0].function, 0u);
  EXPECT_EQ((*got)[0].ecx, 0x12345678u);
  // All leaves that say anything come back, in order. Some KVMs leave out empty ones, and fill in
  // others: a KVM that emulates the CPU gives the host's own.
  auto next = got->begin();
  for (const kvm_cpuid_entry2& entry : *supported) {
    if ((entry.eax | entry.ebx | entry.ecx | entry.edx) == 0) continue;
    next = std::find_if(next, got->end(), [&entry](const kvm_cpuid_entry2& other) {
      return other.function == entry.function && other.index == entry.index;
    });
    ASSERT_NE(next, got->end()) << "leaf " << std::hex << entry.function << '.' << entry.index;
  }
}

TEST(KvmTest, Msrs) {
  RealMode guest(std::array<uint8_t, 1>{0xf4});
  constexpr uint32_t kSysenterEsp = 0x175;
  constexpr uint32_t kSysenterEip = 0x176;
  ASSERT_TRUE(guest.vcpu()
                  .SetMsrs(std::array{kvm_msr_entry{kSysenterEsp, 0, 0x1111},
                                      kvm_msr_entry{kSysenterEip, 0, 0x2222}})
                  .ok());
  std::array got = {kvm_msr_entry{kSysenterEip, 0, 0}, kvm_msr_entry{kSysenterEsp, 0, 0}};
  ASSERT_TRUE(guest.vcpu().GetMsrs(got).ok());
  EXPECT_EQ(got[0].data, 0x2222u);
  EXPECT_EQ(got[1].data, 0x1111u);
  // One that no CPU has, after one that it has.
  const absl::Status status = guest.vcpu().SetMsrs(
      std::array{kvm_msr_entry{kSysenterEsp, 0, 1}, kvm_msr_entry{0x12345678, 0, 1}});
  EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("0x12345678"));
}

TEST(KvmTest, RegistersFpuAndLapicComeBack) {
  RealMode guest(std::array<uint8_t, 1>{0xf4});
  kvm_fpu fpu = *guest.vcpu().GetFpu();
  fpu.mxcsr = 0x1f80;
  fpu.fcw = 0x37f;
  ASSERT_TRUE(guest.vcpu().SetFpu(fpu).ok());
  EXPECT_EQ(guest.vcpu().GetFpu()->fcw, 0x37f);
  constexpr size_t kTaskPriority = 0x80;
  kvm_lapic_state lapic = *guest.vcpu().GetLapic();
  lapic.regs[kTaskPriority] = 0x30;
  ASSERT_TRUE(guest.vcpu().SetLapic(lapic).ok());
  EXPECT_EQ(guest.vcpu().GetLapic()->regs[kTaskPriority], 0x30);
}

TEST(KvmTest, PortAndMemoryAccesses) {
  RealMode guest(std::array<uint8_t, 18>{
      0xba,
      0x34,
      0x12,  // mov dx, 0x1234
      0xed,  // in ax, dx
      0xef,  // out dx, ax
      0xb8,
      0x00,
      0xb0,  // mov ax, 0xb000
      0x8e,
      0xd8,  // mov ds, ax
      0xa0,
      0x05,
      0x00,  // mov al, [5]: 0xb0005, where nothing is
      0xa2,
      0x06,
      0x00,  // mov [6], al
      0xee,  // out dx, al
      0xf4,
  });
  kvm::VcpuExit exit = guest.Run();
  const auto* read = std::get_if<kvm::PortExit>(&exit);
  ASSERT_NE(read, nullptr);
  EXPECT_FALSE(read->is_write);
  ASSERT_EQ(read->data.size(), 2u);
  read->data[0] = 0xcd;
  read->data[1] = 0xab;
  ExpectPortWrite(guest.Run(), 0x1234, {0xcd, 0xab});

  exit = guest.Run();
  const auto* load = std::get_if<kvm::MmioExit>(&exit);
  ASSERT_NE(load, nullptr);
  EXPECT_FALSE(load->is_write);
  EXPECT_EQ(load->address, 0xb0005u);
  ASSERT_EQ(load->data.size(), 1u);
  load->data[0] = 0x42;

  exit = guest.Run();
  const auto* store = std::get_if<kvm::MmioExit>(&exit);
  ASSERT_NE(store, nullptr);
  EXPECT_TRUE(store->is_write);
  EXPECT_EQ(store->address, 0xb0006u);
  EXPECT_EQ(store->data[0], 0x42);
  ExpectPortWrite(guest.Run(), 0x1234, {0x42});
}

TEST(KvmTest, AnIoEventTakesTheMatchingWriteOnly) {
  RealMode guest(std::array<uint8_t, 12>{
      0xba,
      0x00,
      0x02,  // mov dx, 0x200
      0xb0,
      0x07,  // mov al, 7
      0xee,  // out dx, al: matches
      0xee,  // out dx, al: again
      0xb0,
      0x08,  // mov al, 8
      0xee,  // out dx, al: another value
      0xf4,
      0x90,
  });
  const EventFd event = *EventFd::Create();
  ASSERT_TRUE(guest.vm().AddIoEvent(kvm::Vm::Space::kPort, 0x200, 1, 7, event).ok());
  ExpectPortWrite(guest.Run(), 0x200, {8});
  EXPECT_EQ(event.Drain(), 2u);
  EXPECT_FALSE(guest.vm().AddIoEvent(kvm::Vm::Space::kPort, 0x200, 1, 7, event).ok());
  // A size that KVM refuses with EINVAL is not the specification's fault.
  EXPECT_TRUE(absl::IsInternal(guest.vm().AddIoEvent(kvm::Vm::Space::kPort, 0x200, 3, 7, event)));
}

TEST(KvmTest, AnInterruptLineReachesTheGuest) {
  RealMode guest(std::array<uint8_t, 37>{
      0xfa,                    // cli
      0x31, 0xc0, 0x8e, 0xd8,  // xor ax, ax; mov ds, ax
      0xb0, 0x11, 0xe6, 0x20,  // PIC: ICW1
      0xb0, 0x20, 0xe6, 0x21,  // ICW2: vectors from 0x20 on
      0xb0, 0x04, 0xe6, 0x21,  // ICW3
      0xb0, 0x01, 0xe6, 0x21,  // ICW4
      0xb0, 0xdf, 0xe6, 0x21,  // only line 5 is unmasked
      0xe6, 0x80,              // out 0x80, al: ready
      0xfb,                    // sti
      0xf4,                    // hlt
      0xeb, 0xfd,              // and again
      0xb0, 0x55,              // the handler, at 0x101f: mov al, 0x55
      0xe6, 0x81,              // out 0x81, al
      0xeb, 0xfe,
  });
  // Interrupt vector 0x25, in the table at 0.
  ASSERT_TRUE(guest.memory().WriteObject<uint32_t>(GuestAddress{0x25 * 4}, 0x101f).ok());
  const auto line = guest.vm().CreateIrqLine(5);
  ASSERT_TRUE(line.ok()) << line.status();
  ExpectPortWrite(guest.Run(), 0x80, {0xdf});
  (*line)->Raise();
  ExpectPortWrite(guest.Run(), 0x81, {0x55});
}

TEST(KvmTest, ImmediateExitKeepsTheGuestFromRunning) {
  RealMode guest(std::array<uint8_t, 2>{0xeb, 0xfe});  // jmp $
  guest.vcpu().RequestImmediateExit(true);
  const auto exit = guest.vcpu().Run();
  ASSERT_TRUE(exit.ok()) << exit.status();
  EXPECT_TRUE(std::holds_alternative<kvm::InterruptedExit>(*exit));
  EXPECT_EQ(guest.vcpu().GetRegs()->rip, kCodeAddress);
}

constexpr std::array<uint8_t, 2> kUndefinedInstruction = {0x0f, 0x0b};

TEST(KvmTest, ATripleFaultIsAShutdown) {
  RealMode guest(kUndefinedInstruction);
  guest.DropInterruptTable();
  EXPECT_TRUE(std::holds_alternative<kvm::ShutdownExit>(guest.Run()));
}

// Counts in memory at 0x2000 for ever.
constexpr std::array<uint8_t, 7> kCounting = {0x66, 0xff, 0x06, 0x00, 0x20, 0xeb, 0xf9};

class VcpuThreadTest : public testing::Test {
 protected:
  void Start(std::span<const uint8_t> code, bool with_interrupt_table = true) {
    guest_.emplace(code);
    if (!with_interrupt_table) guest_->DropInterruptTable();
    auto thread = VcpuThread::Start(guest_->TakeVcpu(), 0, ports_, mmio_,
                                    {.on_ending = [this](Ending ending) { ending_ = ending; },
                                     .on_stopped = [this] { ++stopped_; }});
    ASSERT_TRUE(thread.ok()) << thread.status();
    thread_ = *std::move(thread);
  }
  uint32_t Counter() { return *guest_->memory().ReadObject<uint32_t>(GuestAddress{0x2000}); }
  // Until the guest has counted at 0x2004 that it takes interrupts.
  void AwaitReady(absl::Time deadline) {
    while (*guest_->memory().ReadObject<uint8_t>(GuestAddress{0x2004}) == 0 &&
           absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  Bus ports_;
  Bus mmio_;
  std::optional<RealMode> guest_;
  std::optional<Ending> ending_;
  std::atomic<int> stopped_ = 0;
  std::unique_ptr<VcpuThread> thread_;
};

TEST_F(VcpuThreadTest, StartsPausedRunsPausesResumesStops) {
  ASSERT_NO_FATAL_FAILURE(Start(kCounting));
  EXPECT_EQ(thread_->state(), VcpuThread::State::kPaused);
  EXPECT_EQ(Counter(), 0u);

  uint32_t before = 0;
  for (int i = 0; i < 10; ++i) {
    thread_->Resume();
    ASSERT_TRUE(thread_->AwaitState(VcpuThread::State::kRunning, kTimeout));
    const absl::Time deadline = absl::Now() + kTimeout;
    while (Counter() == before && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_GT(Counter(), before);
    thread_->Pause();
    ASSERT_TRUE(thread_->AwaitState(VcpuThread::State::kPaused, kTimeout));
    before = Counter();
    absl::SleepFor(absl::Milliseconds(5));
    EXPECT_EQ(Counter(), before) << "a paused vCPU runs";
  }

  thread_->Resume();
  thread_->RequestStop();
  ASSERT_TRUE(thread_->AwaitState(VcpuThread::State::kStopped, kTimeout));
  thread_->Resume();
  EXPECT_EQ(thread_->state(), VcpuThread::State::kStopped) << "stopped is final";
  thread_.reset();
  EXPECT_EQ(stopped_, 1);
  EXPECT_FALSE(ending_.has_value());
}

TEST_F(VcpuThreadTest, DestructionStopsARunningGuest) {
  ASSERT_NO_FATAL_FAILURE(Start(kCounting));
  thread_->Resume();
  ASSERT_TRUE(thread_->AwaitState(VcpuThread::State::kRunning, kTimeout));
  thread_.reset();
  EXPECT_EQ(stopped_, 1);
}

TEST_F(VcpuThreadTest, DestructionOfOneThatNeverRan) {
  ASSERT_NO_FATAL_FAILURE(Start(kCounting));
  thread_.reset();
  EXPECT_EQ(stopped_, 1);
  EXPECT_EQ(Counter(), 0u);
}

TEST_F(VcpuThreadTest, AHaltedGuestStopsToo) {
  ASSERT_NO_FATAL_FAILURE(Start(std::array<uint8_t, 4>{0xfa, 0xf4, 0xeb, 0xfc}));  // cli; hlt
  thread_->Resume();
  ASSERT_TRUE(thread_->AwaitState(VcpuThread::State::kRunning, kTimeout));
  absl::SleepFor(absl::Milliseconds(20));
  thread_->RequestStop();
  EXPECT_TRUE(thread_->AwaitState(VcpuThread::State::kStopped, kTimeout));
}

// How SeaBIOS waits for a device: it takes interrupts for two instructions in each round.
constexpr std::array<uint8_t, 56> kShortWindows = {
    0xfa,                                            // cli
    0x31, 0xc0, 0x8e, 0xd8,                          // xor ax, ax; mov ds, ax
    0xb0, 0x11, 0xe6, 0x20,                          // PIC: ICW1
    0xb0, 0x20, 0xe6, 0x21,                          // ICW2: vectors from 0x20 on
    0xb0, 0x04, 0xe6, 0x21,                          // ICW3
    0xb0, 0x01, 0xe6, 0x21,                          // ICW4
    0xb0, 0xdf, 0xe6, 0x21,                          // only line 5 is unmasked
    0xc6, 0x06, 0x04, 0x20, 0x01,                    // mov byte [0x2004], 1: ready
    0xfb, 0x90, 0xf3, 0x90, 0xfa, 0xfc,              // sti; nop; pause; cli; cld
    0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,  // nop, …
    0xeb, 0xf0,                                      // and again
    0x66, 0xff, 0x06, 0x00, 0x20,                    // the handler, at 0x102e: counts at 0x2000
    0xb0, 0x20, 0xe6, 0x20, 0xcf,                    // the end of the interrupt; iret
};

// A device raises its line from its own thread and from a vCPU's. While one call has the line high,
// another makes no edge; who was served by the edge of the first must not lose the second.
TEST_F(VcpuThreadTest, TwoThreadsRaiseOneLine) {
  ASSERT_NO_FATAL_FAILURE(Start(std::array<uint8_t, 43>{
      0xfa,                          // cli
      0x31, 0xc0, 0x8e, 0xd8,        // xor ax, ax; mov ds, ax
      0xb0, 0x11, 0xe6, 0x20,        // PIC: ICW1
      0xb0, 0x20, 0xe6, 0x21,        // ICW2: vectors from 0x20 on
      0xb0, 0x04, 0xe6, 0x21,        // ICW3
      0xb0, 0x01, 0xe6, 0x21,        // ICW4
      0xb0, 0xdf, 0xe6, 0x21,        // only line 5 is unmasked
      0xfb,                          // sti
      0xff, 0x06, 0x04, 0x20,        // inc word [0x2004]: ready
      0xf4,                          // hlt
      0xeb, 0xfd,                    // and again
      0x66, 0xff, 0x06, 0x00, 0x20,  // the handler, at 0x1021: inc dword [0x2000]
      0xb0, 0x20, 0xe6, 0x20,        // end of interrupt
      0xcf,                          // iret
  }));
  ASSERT_TRUE(guest_->memory().WriteObject<uint32_t>(GuestAddress{0x25 * 4}, 0x1021).ok());
  const auto line = guest_->vm().CreateIrqLine(5);
  ASSERT_TRUE(line.ok()) << line.status();
  thread_->Resume();
  const absl::Time deadline = absl::Now() + kTimeout;
  AwaitReady(deadline);

  constexpr int kRounds = 3000;
  std::atomic<int> arrived = 0;
  std::atomic<bool> lost = false;
  const auto raise = [&] {
    for (int round = 1; round <= kRounds && !lost; ++round) {
      ++arrived;
      while (arrived < 2 * round && !lost) std::this_thread::yield();
      const uint32_t before = Counter();
      (*line)->Raise();
      while (Counter() == before && !lost) {
        if (absl::Now() > deadline) lost = true;
        std::this_thread::yield();
      }
    }
  };
  std::thread other(raise);
  raise();
  other.join();
  EXPECT_FALSE(lost) << "an edge was lost after " << arrived / 2 << " rounds";
  thread_->RequestStop();
}

TEST_F(VcpuThreadTest, ANudgeFindsAShortWindowForAnInterrupt) {
  ASSERT_NO_FATAL_FAILURE(Start(kShortWindows));
  ASSERT_TRUE(guest_->memory().WriteObject<uint32_t>(GuestAddress{0x25 * 4}, 0x102e).ok());
  const auto line = guest_->vm().CreateIrqLine(5);
  ASSERT_TRUE(line.ok()) << line.status();
  thread_->Resume();
  const absl::Time deadline = absl::Now() + kTimeout;
  AwaitReady(deadline);
  for (uint32_t i = 1; i <= 5; ++i) {
    (*line)->Raise();
    while (Counter() < i && absl::Now() < deadline) {
      thread_->Nudge();
      absl::SleepFor(absl::Milliseconds(1));
    }
    EXPECT_EQ(Counter(), i) << "each interrupt is given once";
  }
}

TEST_F(VcpuThreadTest, ReportsHowTheGuestEnded) {
  ASSERT_NO_FATAL_FAILURE(Start(kUndefinedInstruction, /*with_interrupt_table=*/false));
  thread_->Resume();
  ASSERT_TRUE(thread_->AwaitState(VcpuThread::State::kStopped, kTimeout));
  thread_.reset();
  ASSERT_TRUE(ending_.has_value());
  EXPECT_EQ(ending_->kind, Ending::Kind::kTripleFault);
}

}  // namespace
}  // namespace hull
