#include "vmm/vcpu/exit_handler.h"

#include <cstddef>
#include <span>
#include <variant>

#include "absl/strings/str_cat.h"

namespace hull {

namespace {

class Visitor {
 public:
  Visitor(const Bus& ports, const Bus& mmio) : ports_(ports), mmio_(mmio) {}

  std::optional<Ending> operator()(const kvm::InterruptedExit&) const { return std::nullopt; }

  std::optional<Ending> operator()(const kvm::PortExit& exit) const {
    // A string instruction repeats the access at the same port.
    for (size_t done = 0; done < exit.data.size(); done += exit.size) {
      const std::span<uint8_t> data = exit.data.subspan(done, exit.size);
      if (exit.is_write) {
        ports_.Write(exit.port, data);
      } else {
        ports_.Read(exit.port, data);
      }
    }
    return std::nullopt;
  }

  std::optional<Ending> operator()(const kvm::MmioExit& exit) const {
    if (exit.is_write) {
      mmio_.Write(exit.address, exit.data);
    } else {
      mmio_.Read(exit.address, exit.data);
    }
    return std::nullopt;
  }

  std::optional<Ending> operator()(const kvm::ShutdownExit&) const {
    return Ending{Ending::Kind::kTripleFault, ""};
  }

  std::optional<Ending> operator()(const kvm::SystemEventExit& exit) const {
    switch (exit.type) {
      case KVM_SYSTEM_EVENT_SHUTDOWN:
        return Ending{Ending::Kind::kPowerOff, ""};
      case KVM_SYSTEM_EVENT_RESET:
        return Ending{Ending::Kind::kReboot, ""};
      case KVM_SYSTEM_EVENT_CRASH:
        return Ending{Ending::Kind::kPanic, ""};
      default:
        return Ending{Ending::Kind::kInternalError,
                      absl::StrCat("unknown KVM system event ", exit.type)};
    }
  }

  std::optional<Ending> operator()(const kvm::InternalErrorExit& exit) const {
    return Ending{Ending::Kind::kInternalError, exit.detail};
  }

 private:
  const Bus& ports_;
  const Bus& mmio_;
};

}  // namespace

std::optional<Ending> HandleExit(const kvm::VcpuExit& exit, const Bus& ports, const Bus& mmio) {
  return std::visit(Visitor(ports, mmio), exit);
}

}  // namespace hull
