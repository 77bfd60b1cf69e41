// glog asks for the user's name before main(), to put it into the names of log files that Hull does
// not write. glibc's answer in a static program is to look for a name service: sockets, files and,
// at worst, shared libraries of another version. This stand-in says that there is no such user, and
// glog goes on without the name. Only static binaries link this.

#include <pwd.h>
#include <stddef.h>

int getpwuid_r(uid_t uid, struct passwd* entry, char* buffer, size_t size, struct passwd** result);

int getpwuid_r(uid_t uid, struct passwd* entry, char* buffer, size_t size, struct passwd** result) {
  (void)uid;
  (void)entry;
  (void)buffer;
  (void)size;
  *result = NULL;
  return 0;
}
