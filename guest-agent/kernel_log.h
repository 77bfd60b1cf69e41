// The agent's only log: the guest kernel's, which ends up on the console if the machine has one.

#ifndef GUEST_AGENT_KERNEL_LOG_H_
#define GUEST_AGENT_KERNEL_LOG_H_

#include <initializer_list>
#include <string_view>

namespace hull::agent {

// Not thread-safe. Opens /dev/kmsg for each line: lines are rare, and silence costs nothing.
class KernelLog {
 public:
  // `verbose`: Debug() lines are written too.
  explicit KernelLog(bool verbose) : verbose_(verbose) {}

  void Debug(std::initializer_list<std::string_view> parts) const {
    if (verbose_) Write('6', parts);
  }
  void Error(std::initializer_list<std::string_view> parts) const { Write('3', parts); }

 private:
  static void Write(char level, std::initializer_list<std::string_view> parts);

  bool verbose_;
};

}  // namespace hull::agent

#endif  // GUEST_AGENT_KERNEL_LOG_H_
