// Makes one call of the host's after the other fail, so that a test can see what the program then
// does. Only in programs that are linked for it (faults.bzl): the linker sends every call of a
// listed function through here, from libraries and the C library's own files as well.

#ifndef TESTS_FAULTS_FAULTS_H_
#define TESTS_FAULTS_FAULTS_H_

namespace hull::faults {

// From now on calls are counted, in this process and in those it forks, each from where it was. The
// call whose number is $HULL_FAIL_AT (from 1) fails as it does when resources are short or the host
// is broken. It is told on standard error first: "fault: 17 ioctl(0xae01): ENOMEM".
//
// Without $HULL_FAIL_AT the number is in a file "fail-at" beside the program, and counted is in it:
// all programs of that directory then count as one, also one whose environment is empty. It holds
// two numbers of 64 bits in this machine's order, the failing call's and the last call's. What
// fails is then told in "fault" beside it, as standard error may be anything. Without that file,
// nothing fails.
void Start();

}  // namespace hull::faults

#endif  // TESTS_FAULTS_FAULTS_H_
