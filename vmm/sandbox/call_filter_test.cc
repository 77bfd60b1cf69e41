#include "vmm/sandbox/call_filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <array>
#include <cstdint>
#include <iterator>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace hull::sandbox {
namespace {

constexpr uint64_t kAllBits = ~uint64_t{0};
constexpr uint32_t kAllow = SECCOMP_RET_ALLOW;

// The rules' meaning, call by call.
uint32_t Expected(const CallRules& rules, uint32_t number,
                  const std::array<uint64_t, 6>& arguments) {
  if (number >= 0x40000000) return SECCOMP_RET_KILL_PROCESS;
  const auto rule = rules.find(number);
  if (rule == rules.end()) return kNotListed;
  for (const auto& alternative : rule->second.alternatives) {
    bool holds = true;
    for (const ArgumentCondition& one : alternative) {
      holds = holds && (arguments[one.argument] & one.mask) == one.value;
    }
    if (holds) return rule->second.action;
  }
  return kNotListed;
}

void ExpectMeaning(const CallRules& rules, const std::vector<std::array<uint64_t, 6>>& arguments) {
  const auto program = CompileCallFilter(rules);
  ASSERT_TRUE(program.has_value());
  for (uint32_t tried = 0; tried < 1024; ++tried) {
    for (const uint32_t number : {tried, tried | 0x40000000, tried - 512}) {
      for (const auto& one : arguments) {
        EXPECT_EQ(RunCallFilter(*program, number, one), Expected(rules, number, one))
            << number << " " << one[0] << " " << one[1];
      }
    }
  }
}

TEST(CallFilterTest, NothingIsListed) { ExpectMeaning({}, {{}}); }

TEST(CallFilterTest, NumbersAlone) {
  ExpectMeaning({{0, {kAllow, {{}}}}}, {{}});
  ExpectMeaning({{7, {kAllow, {{}}}}, {9, {kAllow, {{}}}}, {10, {SECCOMP_RET_ERRNO | 38, {{}}}}},
                {{}});
  CallRules every_second;
  for (uint32_t number = 1; number < 120; number += 2) every_second[number] = {kAllow, {{}}};
  ExpectMeaning(every_second, {{}});
}

TEST(CallFilterTest, EachHalfOfAnArgumentCounts) {
  const uint64_t value = 0x123456789;
  ExpectMeaning(
      {{16, {kAllow, {{{1, kAllBits, value}}}}}},
      {{0, value}, {0, value & 0xffffffff}, {0, value ^ 1}, {0, value | uint64_t{1} << 63}});
}

TEST(CallFilterTest, AlternativesShareWhatTheyHaveInCommon) {
  CallRules many = {{16, {kAllow, {}}}};
  std::vector<std::array<uint64_t, 6>> arguments;
  for (uint64_t value = 100; value < 120; ++value) {
    many[16].alternatives.push_back({{1, kAllBits, value}});
    arguments.push_back({0, value});
    arguments.push_back({0, value + 20});
    arguments.push_back({0, value + (uint64_t{1} << 32)});
  }
  ExpectMeaning(many, arguments);
  // One load and comparison of the high half, one load of the low, a comparison a value; and what
  // every program has.
  EXPECT_LE(CompileCallFilter(many)->size(), 20u + 3 + 8);
}

TEST(CallFilterTest, SeveralConditions) {
  const uint64_t not_three = ~uint64_t{3};
  std::vector<std::array<uint64_t, 6>> arguments;
  for (const uint64_t a : {0, 1, 2, 3, 4, 5}) {
    for (const uint64_t b : {0, 1, 3, 5}) {
      for (const uint64_t c : {uint64_t{0}, uint64_t{3}, uint64_t{4}, uint64_t{1} << 40}) {
        arguments.push_back({a, b, c});
      }
    }
  }
  ExpectMeaning({{20,
                  {kAllow,
                   {{{0, kAllBits, 1}, {1, kAllBits, 0}},
                    {{0, kAllBits, 1}, {1, kAllBits, 3}, {2, not_three, 0}},
                    {{0, kAllBits, 2}},
                    {{2, 0xff, 4}, {1, kAllBits, 5}},
                    {{1, 4, 4}, {0, kAllBits, 5}}}}},
                 {21, {kAllow, {{{2, not_three, 0}}}}}},
                arguments);
}

TEST(CallFilterTest, RulesByChance) {
  std::mt19937_64 chance(4711);
  const auto below = [&](uint64_t limit) { return chance() % limit; };
  const uint64_t masks[] = {kAllBits, kAllBits, 1, 6, ~uint64_t{3}, uint64_t{3} << 32};
  for (int round = 0; round < 40; ++round) {
    CallRules rules;
    for (uint64_t count = below(12); count > 0; --count) {
      CallRule rule{kAllow, {}};
      for (uint64_t alternatives = 1 + below(4); alternatives > 0; --alternatives) {
        std::vector<ArgumentCondition> conditions;
        for (unsigned argument = 0; argument < 3; ++argument) {
          if (below(2) == 0) continue;
          const uint64_t mask = masks[below(std::size(masks))];
          conditions.push_back({argument, mask, below(5) & mask});
        }
        rule.alternatives.push_back(std::move(conditions));
      }
      rules[static_cast<uint32_t>(below(40))] = std::move(rule);
    }
    std::vector<std::array<uint64_t, 6>> arguments;
    for (int i = 0; i < 40; ++i) {
      arguments.push_back({below(6), below(6) | (below(4) == 0 ? uint64_t{1} << 33 : 0), below(6)});
    }
    ExpectMeaning(rules, arguments);
  }
}

TEST(CallFilterTest, WhatCannotBeSaidIsRefused) {
  // A number that is x32's, a rule that never holds, and jumps that are too far.
  EXPECT_FALSE(CompileCallFilter({{0x40000001, {kAllow, {{}}}}}).has_value());
  EXPECT_FALSE(CompileCallFilter({{1, {kAllow, {}}}}).has_value());
  CallRules far;
  for (uint32_t number = 0; number < 400; ++number) {
    far[number] = {kAllow, {{{0, kAllBits, number}}}};
  }
  EXPECT_FALSE(CompileCallFilter(far).has_value());
}

TEST(CallFilterTest, AProgramThatDoesNotEndHasNoAnswer) {
  const std::vector<sock_filter> load = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0}};
  EXPECT_FALSE(RunCallFilter(load, 0, {}).has_value());
  const std::vector<sock_filter> far = {{BPF_JMP | BPF_JA, 0, 0, 9}};
  EXPECT_FALSE(RunCallFilter(far, 0, {}).has_value());
  const std::vector<sock_filter> other = {{BPF_ST, 0, 0, 0}, {BPF_RET | BPF_K, 0, 0, 0}};
  EXPECT_FALSE(RunCallFilter(other, 0, {}).has_value());
}

}  // namespace
}  // namespace hull::sandbox
