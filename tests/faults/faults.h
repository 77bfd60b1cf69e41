// Makes one call of the host's after the other fail, so that a test can see what the program then
// does. Only in programs that are linked for it (faults.bzl): the linker sends every call of a
// listed function through here, from libraries and the C library's own files as well.

#ifndef TESTS_FAULTS_FAULTS_H_
#define TESTS_FAULTS_FAULTS_H_

namespace hull::faults {

// From now on calls are counted, in this process and in those it forks, each from where it was. The
// call whose number is $HULL_FAIL_AT (from 1) fails as it does when resources are short or the host
// is broken; if $HULL_FAIL_COMM is set, only in threads of that name (prctl(2), PR_SET_NAME). A
// failing call is told on standard error first: "fault: 17 ioctl(0xae01): ENOMEM". Without
// $HULL_FAIL_AT nothing fails.
void Start();

}  // namespace hull::faults

#endif  // TESTS_FAULTS_FAULTS_H_
