// A host that lacks something, as a process sees it: a system call that fails.

#ifndef VMM_SANDBOX_FAILING_CALL_H_
#define VMM_SANDBOX_FAILING_CALL_H_

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <cstddef>
#include <cstdint>

namespace hull::sandbox {

// From now on the system call `number` fails with `error` in this process. Whether that was to be
// had.
inline bool MakeCallFail(uint32_t number, uint32_t error) {
  sock_filter instructions[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {.len = 4, .filter = instructions};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace hull::sandbox

#endif  // VMM_SANDBOX_FAILING_CALL_H_
