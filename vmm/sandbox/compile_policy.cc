// Compiles the lists of allowed system calls to BPF, at build time (call_filter.h). libseccomp
// compiles them as well, and both programs must answer alike, or nothing is built.
//
//   compile_policy HEADER NAME=FILE[+FILE...]... > filters.cc
//
// The result defines, in namespace hull::sandbox, one array of BPF instructions for each NAME
// (kNameFilter) and the names of all system calls, as HEADER declares them. Several files make one
// list: what the first says, and what the others allow.
//
// A line of a policy is a comment (#), or a system call:
//   NAME                                   whatever its arguments
//
//   NAME argN == VALUE[, ...]          only with these arguments; several lines: alternatives
//
//   NAME argN & MASK == VALUE[, ...]   the same with some bits of it
//
//   NAME : errno ERROR                 not allowed, but answered with this error
//
// Everything else raises SIGSYS in the thread; another architecture's calls kill the process.

#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "vmm/sandbox/call_filter.h"

namespace {

using hull::sandbox::ArgumentCondition;
using hull::sandbox::CallRule;
using hull::sandbox::CallRules;

// <linux/kvm.h> computes these from structures that C++ lays out differently (see vmm/kvm/abi.h);
// the kernel's numbers.
constexpr uint64_t kGetSupportedCpuid = 0xc008ae05;
constexpr uint64_t kSetCpuid2 = 0x4008ae90;
constexpr uint64_t kSetMsrs = 0x4008ae89;
// Of Linux 6.1; glibc 2.36 does not have it.
constexpr uint64_t kMadvCollapse = 25;

const std::map<std::string, uint64_t>& Constants() {
  static const auto* const constants = new std::map<std::string, uint64_t>{
#define HULL_CONSTANT(name) {#name, static_cast<uint64_t>(name)}
      HULL_CONSTANT(KVM_RUN),
      HULL_CONSTANT(KVM_IRQ_LINE),
      HULL_CONSTANT(KVM_CHECK_EXTENSION),
      HULL_CONSTANT(KVM_CREATE_VM),
      {"KVM_GET_SUPPORTED_CPUID", kGetSupportedCpuid},
      HULL_CONSTANT(KVM_SET_TSS_ADDR),
      HULL_CONSTANT(KVM_CREATE_IRQCHIP),
      HULL_CONSTANT(KVM_CREATE_PIT2),
      HULL_CONSTANT(KVM_GET_CLOCK),
      HULL_CONSTANT(KVM_SET_GUEST_DEBUG),
      HULL_CONSTANT(KVM_SET_USER_MEMORY_REGION),
      HULL_CONSTANT(KVM_IOEVENTFD),
      HULL_CONSTANT(KVM_CREATE_VCPU),
      {"KVM_SET_CPUID2", kSetCpuid2},
      {"KVM_SET_MSRS", kSetMsrs},
      HULL_CONSTANT(KVM_GET_SREGS),
      HULL_CONSTANT(KVM_SET_SREGS),
      HULL_CONSTANT(KVM_SET_REGS),
      HULL_CONSTANT(BLKGETSIZE64),
      {"~PROT_READ_WRITE", ~uint64_t{PROT_READ | PROT_WRITE}},
      {"MAP_PRIVATE_ANONYMOUS", MAP_PRIVATE | MAP_ANONYMOUS},
      HULL_CONSTANT(MREMAP_MAYMOVE),
      HULL_CONSTANT(MADV_DONTNEED),
      HULL_CONSTANT(MADV_DONTDUMP),
      HULL_CONSTANT(MADV_HUGEPAGE),
      HULL_CONSTANT(MADV_NOHUGEPAGE),
      {"MADV_COLLAPSE", kMadvCollapse},
      HULL_CONSTANT(MSG_DONTWAIT),
      HULL_CONSTANT(AT_EMPTY_PATH),
      HULL_CONSTANT(AF_UNIX),
      HULL_CONSTANT(F_GETFL),
      HULL_CONSTANT(F_SETFL),
      HULL_CONSTANT(F_GETFD),
      HULL_CONSTANT(F_SETFD),
      HULL_CONSTANT(F_OFD_SETLK),
      HULL_CONSTANT(F_DUPFD_CLOEXEC),
      HULL_CONSTANT(IPPROTO_TCP),
      HULL_CONSTANT(TCP_NODELAY),
      HULL_CONSTANT(PROT_READ),
      HULL_CONSTANT(PR_SET_PDEATHSIG),
      HULL_CONSTANT(SIGKILL),
      HULL_CONSTANT(PR_GET_NAME),
      HULL_CONSTANT(PR_SET_NAME),
      HULL_CONSTANT(PR_GET_SECCOMP),
      HULL_CONSTANT(SECCOMP_SET_MODE_FILTER),
      // What pthread_create(3) asks for.
      {"CLONE_THREAD_FLAGS", CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                                 CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
                                 CLONE_CHILD_CLEARTID},
      // What fork(3) asks for.
      {"CLONE_FORK_FLAGS", CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD},
      HULL_CONSTANT(ENOENT),
      HULL_CONSTANT(ENOMEM),
      HULL_CONSTANT(ENOSYS),
#undef HULL_CONSTANT
  };
  return *constants;
}

[[noreturn]] void Fail(const std::string& where, const std::string& what) {
  std::cerr << where << ": " << what << "\n";
  std::exit(1);
}

uint64_t Value(const std::string& text, const std::string& where) {
  if (const auto found = Constants().find(text); found != Constants().end()) return found->second;
  char* end;
  const uint64_t value = std::strtoull(text.c_str(), &end, 0);
  if (text.empty() || *end != '\0') Fail(where, "unknown constant " + text);
  return value;
}

void Expect(const std::string& word, const std::string& expected, const std::string& where) {
  if (word != expected) Fail(where, "expected " + expected + " instead of " + word);
}

// The words of a condition: argN == VALUE, or argN & MASK == VALUE.
ArgumentCondition Condition(const std::vector<std::string>& words, const std::string& where) {
  if (words.empty() || words[0].size() != 4 || words[0].rfind("arg", 0) != 0 || words[0][3] < '0' ||
      words[0][3] > '5') {
    Fail(where, "expected arg0 to arg5");
  }
  const auto argument = static_cast<unsigned>(words[0][3] - '0');
  if (words.size() == 3) {
    Expect(words[1], "==", where);
    return {argument, ~uint64_t{0}, Value(words[2], where)};
  }
  if (words.size() != 5) Fail(where, "expected argN == VALUE or argN & MASK == VALUE");
  Expect(words[1], "&", where);
  Expect(words[3], "==", where);
  return {argument, Value(words[2], where), Value(words[4], where)};
}

void AddRule(CallRules& rules, const std::string& line, const std::string& where, bool allow_only) {
  std::istringstream words(line);
  std::string name;
  words >> name;
  const int number = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, name.c_str());
  if (number < 0) Fail(where, "no system call " + name);
  uint32_t action = SCMP_ACT_ALLOW;
  std::vector<ArgumentCondition> conditions;
  std::vector<std::string> condition;
  std::string word;
  while (words >> word) {
    if (word == ":") {
      std::string error;
      words >> word >> error;
      Expect(word, "errno", where);
      action = SCMP_ACT_ERRNO(static_cast<uint32_t>(Value(error, where)));
      continue;
    }
    const bool last = word.back() == ',';
    if (last) word.pop_back();
    condition.push_back(word);
    if (last) {
      conditions.push_back(Condition(condition, where));
      condition.clear();
    }
  }
  if (!condition.empty()) conditions.push_back(Condition(condition, where));
  if (allow_only && action != SCMP_ACT_ALLOW) return;
  CallRule& rule =
      rules.try_emplace(static_cast<uint32_t>(number), CallRule{action, {}}).first->second;
  if (rule.action != action) Fail(where, "two answers for " + name);
  // The same rule twice, from two files, is no mistake.
  if (std::find(rule.alternatives.begin(), rule.alternatives.end(), conditions) ==
      rule.alternatives.end()) {
    rule.alternatives.push_back(conditions);
  }
}

CallRules ReadRules(const std::vector<std::string>& files) {
  CallRules rules;
  for (const std::string& file : files) {
    std::ifstream input(file);
    if (!input) Fail(file, "cannot be read");
    std::string line;
    for (int number = 1; std::getline(input, line); ++number) {
      line.resize(std::min(line.size(), line.find('#')));
      if (line.find_first_not_of(" \t") == std::string::npos) continue;
      AddRule(rules, line, file + ":" + std::to_string(number), file != files[0]);
    }
  }
  return rules;
}

// What libseccomp makes of the same rules.
std::vector<sock_filter> Reference(const CallRules& rules, const std::string& where) {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
  seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  for (const auto& [number, rule] : rules) {
    for (const auto& alternative : rule.alternatives) {
      std::vector<scmp_arg_cmp> conditions;
      for (const ArgumentCondition& one : alternative) {
        conditions.push_back(
            one.mask == ~uint64_t{0}
                ? scmp_arg_cmp{one.argument, SCMP_CMP_EQ, one.value, 0}
                : scmp_arg_cmp{one.argument, SCMP_CMP_MASKED_EQ, one.mask, one.value});
      }
      const int error =
          seccomp_rule_add_array(filter, rule.action, static_cast<int>(number),
                                 static_cast<unsigned>(conditions.size()), conditions.data());
      if (error != 0) Fail(where, std::strerror(-error));
    }
  }
  const int memory = memfd_create("filter", 0);
  if (memory < 0 || seccomp_export_bpf(filter, memory) != 0) Fail(where, "cannot be compiled");
  std::vector<sock_filter> program(static_cast<size_t>(lseek(memory, 0, SEEK_END)) /
                                   sizeof(sock_filter));
  if (pread(memory, program.data(), program.size() * sizeof(sock_filter), 0) < 0) {
    Fail(where, "cannot be read back");
  }
  return program;
}

// Arguments that tell alike conditions apart: each value that a rule has for one, and its
// neighbours.
std::vector<std::array<uint64_t, 6>> TriedArguments(const CallRule& rule) {
  std::vector<std::array<uint64_t, 6>> tried{{}};
  for (unsigned argument = 0; argument < 6; ++argument) {
    std::vector<uint64_t> values{0};
    for (const auto& alternative : rule.alternatives) {
      for (const ArgumentCondition& one : alternative) {
        if (one.argument != argument) continue;
        const uint64_t low = one.mask & -one.mask;
        for (const uint64_t value :
             {one.value, one.value ^ low, one.value ^ (uint64_t{1} << 32),
              one.value ^ (uint64_t{1} << 31), one.value | ~one.mask, one.value + 1, ~one.value}) {
          values.push_back(value);
        }
      }
    }
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    std::vector<std::array<uint64_t, 6>> more;
    for (const auto& before : tried) {
      for (const uint64_t value : values) {
        more.push_back(before);
        more.back()[argument] = value;
      }
    }
    tried = std::move(more);
  }
  return tried;
}

std::vector<sock_filter> Compile(const std::vector<std::string>& files) {
  const CallRules rules = ReadRules(files);
  const auto program = hull::sandbox::CompileCallFilter(rules);
  if (!program.has_value()) Fail(files[0], "the list is too long");
  const std::vector<sock_filter> reference = Reference(rules, files[0]);
  // Beyond every call's number, and into those of x32.
  constexpr uint32_t kTried = 1024;
  constexpr uint32_t kX32 = 0x40000000;
  for (uint32_t tried = 0; tried < 2 * kTried; ++tried) {
    const uint32_t number = tried < kTried ? tried : kX32 + tried - kTried;
    const auto rule = rules.find(number);
    for (const auto& arguments : TriedArguments(rule == rules.end() ? CallRule{} : rule->second)) {
      const auto answer = hull::sandbox::RunCallFilter(*program, number, arguments);
      if (!answer.has_value() ||
          answer != hull::sandbox::RunCallFilter(reference, number, arguments)) {
        Fail(files[0], "libseccomp's program answers otherwise to call " + std::to_string(number));
      }
    }
  }
  return *program;
}

void PrintNames() {
  // Above the last number of this header; kernels add new ones at the end.
  constexpr int kEnd = 470;
  std::printf("const char* const kSystemCallNames[] = {\n");
  for (int number = 0; number < kEnd; ++number) {
    char* name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, number);
    std::printf("    \"%s\",\n", name != nullptr ? name : "");
    std::free(name);
  }
  std::printf("};\nconst size_t kSystemCallCount = %d;\n", kEnd);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) Fail("usage", "compile_policy HEADER NAME=FILE[+FILE...]...");
  std::printf("// Made by vmm/sandbox/compile_policy.cc.\n#include \"%s\"\n", argv[1]);
  std::printf("namespace hull::sandbox {\n");
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    if (equals == std::string::npos) Fail(argument, "expected NAME=FILE");
    std::vector<std::string> files;
    std::istringstream list(argument.substr(equals + 1));
    for (std::string file; std::getline(list, file, '+');) files.push_back(file);
    const std::vector<sock_filter> program = Compile(files);
    const std::string name = argument.substr(0, equals);
    std::printf("const sock_filter k%sFilter[] = {\n", name.c_str());
    for (const sock_filter& one : program) {
      std::printf("    {0x%x, %u, %u, 0x%x},\n", one.code, one.jt, one.jf, one.k);
    }
    std::printf("};\nconst size_t k%sFilterSize = %zu;\n", name.c_str(), program.size());
  }
  PrintNames();
  std::printf("}  // namespace hull::sandbox\n");
  return 0;
}
