// A list of allowed system calls as a program of the kernel's classic BPF (linux/filter.h), at
// build time. Short, as loading costs the kernel some thousand instructions for each of the
// program's (it converts, checks and compiles them) and each thread of a VMM loads one: a tree of
// comparisons finds the call, and what alternatives have in common is looked at once.

#ifndef VMM_SANDBOX_CALL_FILTER_H_
#define VMM_SANDBOX_CALL_FILTER_H_

#include <linux/filter.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace hull::sandbox {

// The answer to calls that are not on the list: SIGSYS.
inline constexpr uint32_t kNotListed = 0x00030000;  // SECCOMP_RET_TRAP

// Argument `argument` (0 to 5), all 64 bits of it but for those that are not in `mask`, is `value`.
struct ArgumentCondition {
  unsigned argument;
  uint64_t mask;
  uint64_t value;

  friend bool operator==(const ArgumentCondition&, const ArgumentCondition&) = default;
};

// What one system call is answered: `action` (SECCOMP_RET_…) if all conditions of any of the
// alternatives hold (an empty alternative always does), kNotListed otherwise.
struct CallRule {
  uint32_t action;
  std::vector<std::vector<ArgumentCondition>> alternatives;
};

// Rules by number of the call.
using CallRules = std::map<uint32_t, CallRule>;

// The program. Another architecture's calls, and x32's, kill the process. nullopt if it would be
// too long for the jumps of classic BPF.
std::optional<std::vector<sock_filter>> CompileCallFilter(const CallRules& rules);

// What the program answers to a call of x86-64. nullopt if it does not end, or holds an instruction
// that CompileCallFilter and libseccomp do not make.
std::optional<uint32_t> RunCallFilter(const std::vector<sock_filter>& program, uint32_t number,
                                      const std::array<uint64_t, 6>& arguments);

}  // namespace hull::sandbox

#endif  // VMM_SANDBOX_CALL_FILTER_H_
