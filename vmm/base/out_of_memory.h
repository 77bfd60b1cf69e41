// What happens when there is no memory for the program itself.

#ifndef VMM_BASE_OUT_OF_MEMORY_H_
#define VMM_BASE_OUT_OF_MEMORY_H_

namespace hull {

// From now on an allocation that fails (operator new) ends the process: `message`, which must
// outlive it and end with a newline, goes to standard error, and `status` is the exit status.
// Without this the C++ runtime would abort, with words that help nobody. Any thread may be the one;
// needs no system call but write(2), exit_group(2) and, with a file to remove, unlink(2).
void ExitWhenOutOfMemory(const char* message, int status);

// The file that such an end takes away first, or nullptr. The path must outlive the process or the
// next call.
void RemoveWhenOutOfMemory(const char* path);

}  // namespace hull

#endif  // VMM_BASE_OUT_OF_MEMORY_H_
