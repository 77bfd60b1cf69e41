// The kernel's classic BPF as far as seccomp filters use it, for tests: what a filter answers to a
// call, and what it could answer to a call whose arguments are not known.

#ifndef VMM_SANDBOX_BPF_FOR_TEST_H_
#define VMM_SANDBOX_BPF_FOR_TEST_H_

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <span>

#include "gtest/gtest.h"

namespace hull::sandbox {

class BpfProgram {
 public:
  explicit BpfProgram(std::span<const sock_filter> code) : code_(code) {}

  // The answers (SECCOMP_RET_…) that some arguments of the call get. `arguments` fixes them.
  std::set<uint32_t> Answers(uint32_t number, const uint64_t* arguments = nullptr,
                             uint32_t arch = AUDIT_ARCH_X86_64) const {
    std::set<uint32_t> answers;
    Explore(0, State{}, {.number = number, .arch = arch, .arguments = arguments}, answers);
    return answers;
  }

 private:
  struct Call {
    uint32_t number;
    uint32_t arch;
    const uint64_t* arguments;
  };
  // nullopt: any value.
  struct State {
    std::optional<uint32_t> a;
    std::optional<uint32_t> x;
  };

  static std::optional<uint32_t> Load(const Call& call, uint32_t offset) {
    seccomp_data data = {};
    data.nr = static_cast<int>(call.number);
    data.arch = call.arch;
    if (call.arguments != nullptr) std::memcpy(data.args, call.arguments, sizeof(data.args));
    const bool argument = offset >= offsetof(seccomp_data, instruction_pointer);
    if (argument && call.arguments == nullptr) return std::nullopt;
    uint32_t value;
    std::memcpy(&value, reinterpret_cast<const char*>(&data) + offset, sizeof(value));
    return value;
  }

  // Filters have no loops, so this ends; they are small, so it ends soon.
  void Explore(size_t at, State state, const Call& call, std::set<uint32_t>& answers) const {
    while (true) {
      ASSERT_LT(at, code_.size());
      const sock_filter& one = code_[at++];
      switch (one.code) {
        case BPF_LD | BPF_W | BPF_ABS:
          state.a = Load(call, one.k);
          continue;
        case BPF_ALU | BPF_AND | BPF_K:
          if (state.a.has_value()) *state.a &= one.k;
          continue;
        case BPF_JMP | BPF_JA:
          at += one.k;
          continue;
        case BPF_RET | BPF_K:
          answers.insert(one.k);
          return;
        case BPF_JMP | BPF_JEQ | BPF_K:
        case BPF_JMP | BPF_JGT | BPF_K:
        case BPF_JMP | BPF_JGE | BPF_K:
        case BPF_JMP | BPF_JSET | BPF_K:
          if (!state.a.has_value()) {
            Explore(at + one.jt, state, call, answers);
            at += one.jf;
            continue;
          }
          at += Holds(one, *state.a) ? one.jt : one.jf;
          continue;
        default:
          FAIL() << "an instruction that this interpreter does not know: " << one.code;
      }
    }
  }

  static bool Holds(const sock_filter& jump, uint32_t a) {
    switch (BPF_OP(jump.code)) {
      case BPF_JEQ:
        return a == jump.k;
      case BPF_JGT:
        return a > jump.k;
      case BPF_JGE:
        return a >= jump.k;
      default:
        return (a & jump.k) != 0;
    }
  }

  std::span<const sock_filter> code_;
};

}  // namespace hull::sandbox

#endif  // VMM_SANDBOX_BPF_FOR_TEST_H_
