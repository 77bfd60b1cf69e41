#include "vmm/cli/installation.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/sandbox/user_range.h"

namespace hull::cli {
namespace {

absl::StatusOr<std::string> Absolute(std::string path) {
  if (!path.empty() && path[0] == '/') return path;
  char directory[PATH_MAX];
  if (getcwd(directory, sizeof(directory)) == nullptr) return PosixError("find this directory");
  return absl::StrCat(directory, "/", path);
}

// The value of a variable, or `otherwise` where it is not set or empty.
absl::StatusOr<std::string> PathVariable(const char* name, std::string otherwise) {
  const char* const value = getenv(name);
  if (value == nullptr || *value == '\0') return otherwise;
  return Absolute(value);
}

}  // namespace

absl::StatusOr<Installation> Installation::FromEnvironment() {
  Installation self;
  char executable[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", executable, sizeof(executable));
  if (n < 0) return PosixError("read \"/proc/self/exe\"");
  self.executable = std::string(executable, static_cast<size_t>(n));
  const std::string directory = self.executable.substr(0, self.executable.rfind('/'));

  HULL_ASSIGN_OR_RETURN(self.root, PathVariable("HULL_ROOT", ""));
  const std::string default_run =
      self.root.empty() ? std::string("/run/hull") : absl::StrCat(self.root, "/run");
  if (self.root.empty()) self.root = "/var/lib/hull";
  HULL_ASSIGN_OR_RETURN(self.run, PathVariable("HULL_RUN", default_run));
  HULL_ASSIGN_OR_RETURN(self.libexec, PathVariable("HULL_LIBEXEC", directory));
  HULL_ASSIGN_OR_RETURN(self.share,
                        PathVariable("HULL_SHARE", absl::StrCat(directory, "/../share")));
  if (const char* const users = getenv("HULL_UIDS")) {
    self.users = users;
    if (!self.users.empty()) HULL_RETURN_IF_ERROR(sandbox::ParseUserRange(self.users).status());
  }
  return self;
}

std::string Installation::Program(absl::string_view name) const {
  return absl::StrCat(libexec, "/", name);
}

std::string Installation::ImageStore() const { return absl::StrCat(root, "/images"); }

images::UnpackProgram Installation::UnpackProgram() const {
  return {.path = Program("hull-unpack"),
          .users = users,
          .user_claims = absl::StrCat(run, "/users.lock")};
}

absl::StatusOr<container::DiskMaker> Installation::DiskMaker() const {
  container::DiskMaker maker = {.templates = absl::StrCat(root, "/templates"),
                                .users_lock = absl::StrCat(run, "/users.lock")};
  if (!users.empty()) {
    HULL_ASSIGN_OR_RETURN(maker.users, sandbox::ParseUserRange(users));
  }
  return maker;
}

}  // namespace hull::cli
