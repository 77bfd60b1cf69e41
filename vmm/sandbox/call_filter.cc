#include "vmm/sandbox/call_filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <utility>

namespace hull::sandbox {
namespace {

static_assert(kNotListed == SECCOMP_RET_TRAP);

// x32's calls have this bit in the number, and x86-64's architecture.
constexpr uint32_t kFirstX32 = 0x40000000;
// Above every number of this kernel's and the next ones' calls. The kernel runs a new filter for
// each, to find out which are always allowed.
constexpr uint32_t kNumbersTried = 512;
// What an instruction of the program costs when it is loaded, in executions of one when it is
// tried.
constexpr uint64_t kCostOfInstruction = 100;

// An offset of seccomp_data for a load, on a little-endian machine.
constexpr uint32_t LowHalf(unsigned argument) {
  return static_cast<uint32_t>(offsetof(seccomp_data, args) + argument * sizeof(uint64_t));
}
constexpr uint32_t HighHalf(unsigned argument) {
  return LowHalf(argument) + static_cast<uint32_t>(sizeof(uint32_t));
}

constexpr uint32_t Low(uint64_t value) { return static_cast<uint32_t>(value); }
constexpr uint32_t High(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

// Instructions whose jumps have names until all are placed.
class Assembler {
 public:
  using Label = size_t;

  Label NewLabel() {
    places_.push_back(kUnplaced);
    return places_.size() - 1;
  }
  void Place(Label label) { places_[label] = code_.size(); }

  void Load(uint32_t offset) { Add(BPF_LD | BPF_W | BPF_ABS, offset); }
  void And(uint32_t mask) { Add(BPF_ALU | BPF_AND | BPF_K, mask); }
  void Return(uint32_t action) { Add(BPF_RET | BPF_K, action); }
  void Jump(uint16_t comparison, uint32_t value, Label then, Label otherwise) {
    jumps_.push_back({code_.size(), then, otherwise});
    Add(static_cast<uint16_t>(BPF_JMP | BPF_K | comparison), value);
  }
  // To what is placed next where it holds.
  void JumpUnless(uint16_t comparison, uint32_t value, Label otherwise) {
    const Label next = NewLabel();
    Jump(comparison, value, next, otherwise);
    Place(next);
  }

  std::optional<std::vector<sock_filter>> Finish() && {
    for (const PendingJump& jump : jumps_) {
      const std::optional<uint8_t> then = Distance(jump.from, jump.then);
      const std::optional<uint8_t> otherwise = Distance(jump.from, jump.otherwise);
      if (!then.has_value() || !otherwise.has_value()) return std::nullopt;
      code_[jump.from].jt = *then;
      code_[jump.from].jf = *otherwise;
    }
    return std::move(code_);
  }

 private:
  static constexpr size_t kUnplaced = std::numeric_limits<size_t>::max();
  struct PendingJump {
    size_t from;
    Label then;
    Label otherwise;
  };

  void Add(uint16_t code, uint32_t k) { code_.push_back({code, 0, 0, k}); }
  std::optional<uint8_t> Distance(size_t from, Label to) const {
    if (places_[to] == kUnplaced || places_[to] <= from) return std::nullopt;
    const size_t distance = places_[to] - from - 1;
    if (distance > std::numeric_limits<uint8_t>::max()) return std::nullopt;
    return static_cast<uint8_t>(distance);
  }

  std::vector<sock_filter> code_;
  std::vector<PendingJump> jumps_;
  std::vector<size_t> places_;
};

// Numbers from `first` up to the next interval's, which go on at one place.
struct Interval {
  uint32_t first;
  Assembler::Label target;
};

// The comparisons that find a number's interval, such that their count, and then the time that the
// numbers take, is least.
class NumberTree {
 public:
  explicit NumberTree(std::vector<Interval> intervals)
      : intervals_(std::move(intervals)), plans_(intervals_.size() * intervals_.size()) {
    const size_t count = intervals_.size();
    for (size_t length = 2; length <= count; ++length) {
      for (size_t from = 0; from + length <= count; ++from) MakePlan(from, from + length - 1);
    }
  }

  void Emit(Assembler& code) const {
    if (intervals_.size() > 1) Emit(code, 0, intervals_.size() - 1);
  }

 private:
  // How the intervals from one to another are told apart.
  struct Plan {
    uint64_t cost = 0;
    // Whether by one comparison for equality with the middle one of three.
    bool single = false;
    // The first interval of the upper part.
    size_t split = 0;
  };

  const Plan& At(size_t from, size_t to) const { return plans_[from * intervals_.size() + to]; }

  uint64_t Weight(size_t from, size_t to) const {
    const uint32_t first = std::min(intervals_[from].first, kNumbersTried);
    const uint32_t end = to + 1 < intervals_.size()
                             ? std::min(intervals_[to + 1].first, kNumbersTried)
                             : kNumbersTried;
    return end - first;
  }

  void MakePlan(size_t from, size_t to) {
    const uint64_t own = kCostOfInstruction + Weight(from, to);
    Plan best{.cost = std::numeric_limits<uint64_t>::max()};
    if (to == from + 2 && intervals_[from].target == intervals_[to].target &&
        intervals_[to].first == intervals_[from + 1].first + 1) {
      best = {.cost = own, .single = true};
    }
    for (size_t split = from + 1; split <= to; ++split) {
      const uint64_t cost = own + At(from, split - 1).cost + At(split, to).cost;
      if (cost < best.cost) best = {.cost = cost, .single = false, .split = split};
    }
    plans_[from * intervals_.size() + to] = best;
  }

  void Emit(Assembler& code, size_t from, size_t to) const {
    const Plan& plan = At(from, to);
    if (plan.single) {
      code.Jump(BPF_JEQ, intervals_[from + 1].first, intervals_[from + 1].target,
                intervals_[from].target);
      return;
    }
    const bool low_is_leaf = plan.split - 1 == from;
    const bool high_is_leaf = plan.split == to;
    const Assembler::Label low = low_is_leaf ? intervals_[from].target : code.NewLabel();
    const Assembler::Label high = high_is_leaf ? intervals_[to].target : code.NewLabel();
    code.Jump(BPF_JGE, intervals_[plan.split].first, high, low);
    if (!low_is_leaf) {
      code.Place(low);
      Emit(code, from, plan.split - 1);
    }
    if (!high_is_leaf) {
      code.Place(high);
      Emit(code, plan.split, to);
    }
  }

  const std::vector<Interval> intervals_;
  std::vector<Plan> plans_;
};

using Alternatives = std::vector<std::vector<ArgumentCondition>>;

// Whether two conditions look at the same bits.
bool SameBits(const ArgumentCondition& a, const ArgumentCondition& b) {
  return a.argument == b.argument && a.mask == b.mask && High(a.value) == High(b.value);
}

// Goes to `good` if an alternative holds, otherwise to `bad`.
void EmitAlternatives(Assembler& code, const Alternatives& alternatives, Assembler::Label good,
                      Assembler::Label bad) {
  // Those that begin with the same bits as the first, and the others.
  Alternatives alike, others;
  const ArgumentCondition first = alternatives.front().front();
  for (const auto& alternative : alternatives) {
    (SameBits(alternative.front(), first) ? alike : others).push_back(alternative);
  }
  const Assembler::Label other = others.empty() ? bad : code.NewLabel();

  if (const uint32_t mask = High(first.mask); mask != 0) {
    code.Load(HighHalf(first.argument));
    if (mask != ~0u) code.And(mask);
    code.JumpUnless(BPF_JEQ, High(first.value), other);
  }
  // What has to hold besides, by value of the low half.
  std::vector<std::pair<uint32_t, Alternatives>> values;
  for (const auto& alternative : alike) {
    const uint32_t value = Low(alternative.front().value);
    auto found = std::find_if(values.begin(), values.end(),
                              [&](const auto& one) { return one.first == value; });
    if (found == values.end()) found = values.insert(values.end(), {value, {}});
    found->second.emplace_back(alternative.begin() + 1, alternative.end());
  }
  code.Load(LowHalf(first.argument));
  const uint32_t mask = Low(first.mask);
  const bool any_bit = mask != ~0u && values.size() == 1 && values.front().first == 0;
  if (mask != ~0u && !any_bit) code.And(mask);
  std::vector<Assembler::Label> matched;
  for (size_t i = 0; i < values.size(); ++i) {
    const bool last = i + 1 == values.size();
    const Alternatives& rest = values[i].second;
    const bool decided =
        std::any_of(rest.begin(), rest.end(), [](const auto& one) { return one.empty(); });
    matched.push_back(decided ? good : code.NewLabel());
    const Assembler::Label next = last ? other : code.NewLabel();
    if (any_bit) {
      code.Jump(BPF_JSET, mask, next, matched.back());
    } else {
      code.Jump(BPF_JEQ, values[i].first, matched.back(), next);
    }
    if (!last) code.Place(next);
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (matched[i] == good) continue;
    code.Place(matched[i]);
    EmitAlternatives(code, values[i].second, good, other);
  }
  if (!others.empty()) {
    code.Place(other);
    EmitAlternatives(code, others, good, bad);
  }
}

bool Unconditional(const CallRule& rule) {
  return std::any_of(rule.alternatives.begin(), rule.alternatives.end(),
                     [](const auto& alternative) { return alternative.empty(); });
}

}  // namespace

std::optional<std::vector<sock_filter>> CompileCallFilter(const CallRules& rules) {
  Assembler code;
  const Assembler::Label kill = code.NewLabel();
  const Assembler::Label not_listed = code.NewLabel();
  std::map<uint32_t, Assembler::Label> answers;
  const auto answer = [&](uint32_t action) {
    const auto found = answers.find(action);
    return found != answers.end() ? found->second : answers[action] = code.NewLabel();
  };

  std::vector<Interval> intervals;
  const auto add = [&](uint32_t number, Assembler::Label target) {
    if (intervals.empty() || intervals.back().target != target) {
      intervals.push_back({number, target});
    }
  };
  std::vector<std::pair<const CallRule*, Assembler::Label>> checks;
  uint32_t next = 0;
  for (const auto& [number, rule] : rules) {
    if (number >= kFirstX32 || rule.alternatives.empty()) return std::nullopt;
    if (number > next) add(next, not_listed);
    next = number + 1;
    if (Unconditional(rule)) {
      add(number, answer(rule.action));
      continue;
    }
    checks.emplace_back(&rule, code.NewLabel());
    add(number, checks.back().second);
  }
  add(next, not_listed);
  add(kFirstX32, kill);

  code.Load(offsetof(seccomp_data, arch));
  code.JumpUnless(BPF_JEQ, AUDIT_ARCH_X86_64, kill);
  code.Load(offsetof(seccomp_data, nr));
  NumberTree(std::move(intervals)).Emit(code);
  for (const auto& [rule, label] : checks) {
    code.Place(label);
    EmitAlternatives(code, rule->alternatives, answer(rule->action), not_listed);
  }
  for (const auto& [action, label] : answers) {
    code.Place(label);
    code.Return(action);
  }
  code.Place(not_listed);
  code.Return(kNotListed);
  code.Place(kill);
  code.Return(SECCOMP_RET_KILL_PROCESS);
  return std::move(code).Finish();
}

std::optional<uint32_t> RunCallFilter(const std::vector<sock_filter>& program, uint32_t number,
                                      const std::array<uint64_t, 6>& arguments) {
  seccomp_data data = {};
  data.nr = static_cast<int>(number);
  data.arch = AUDIT_ARCH_X86_64;
  std::memcpy(data.args, arguments.data(), sizeof(data.args));
  uint32_t a = 0;
  for (size_t at = 0; at < program.size();) {
    const sock_filter& one = program[at++];
    bool holds;
    switch (one.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (one.k > sizeof(data) - sizeof(a)) return std::nullopt;
        std::memcpy(&a, reinterpret_cast<const char*>(&data) + one.k, sizeof(a));
        continue;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= one.k;
        continue;
      case BPF_RET | BPF_K:
        return one.k;
      case BPF_JMP | BPF_JA:
        at += one.k;
        continue;
      case BPF_JMP | BPF_JEQ | BPF_K:
        holds = a == one.k;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        holds = a > one.k;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        holds = a >= one.k;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        holds = (a & one.k) != 0;
        break;
      default:
        return std::nullopt;
    }
    at += holds ? one.jt : one.jf;
  }
  return std::nullopt;
}

}  // namespace hull::sandbox
