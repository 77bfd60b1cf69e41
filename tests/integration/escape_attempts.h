// What a process tries that is compromised already, to get out of its sandbox.
//
//   escape-proof KIND: N attempts, M escaped
//
// An attempt has escaped if the system call was made and succeeded. Refused are calls that the
// thread's list does not hold (SIGSYS; the handler here answers EPERM instead of ending the
// process), and those that the kernel or the rest of the sandbox turns down.

#ifndef TESTS_INTEGRATION_ESCAPE_ATTEMPTS_H_
#define TESTS_INTEGRATION_ESCAPE_ATTEMPTS_H_

namespace hull {

// Makes calls off the list fail with EPERM, in place of the product's handler. Before the list.
void AnswerViolations();

// Tries everything, and says on standard error what succeeded and the line above.
void TryToEscape(const char* kind);

}  // namespace hull

#endif  // TESTS_INTEGRATION_ESCAPE_ATTEMPTS_H_
