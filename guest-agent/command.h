// What a process is given beyond its spec, and where its program is found. Pure, but for what the
// caller's `try_exec` does.

#ifndef GUEST_AGENT_COMMAND_H_
#define GUEST_AGENT_COMMAND_H_

#include <cerrno>
#include <cstddef>
#include <span>
#include <string_view>

#include "guest-agent/start_request.h"
#include "guest-agent/text.h"

namespace hull::agent {

// Podman's default.
inline constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

inline constexpr size_t kMaxPath = 4095;  // PATH_MAX without its NUL
using PathText = FixedText<kMaxPath>;

// The value of the last NAME=VALUE in `environment`. Null data: there is none.
std::string_view FindVariable(std::span<const char* const> environment, std::string_view name);

// Holds the text of the variables that CompleteEnvironment() adds.
struct AddedVariables {
  FixedText<5 + kDefaultPath.size()> path;
  FixedText<5 + kMaxPath> home;
};

// Adds PATH and HOME where they are missing. `added` must live as long as the environment.
void CompleteEnvironment(StartRequest* request, std::string_view home, AddedVariables* added);

// The files to try for a command, in order: the name itself if it has a slash, otherwise one for
// each directory of `path` (an empty entry is the working directory).
class CommandCandidates {
 public:
  CommandCandidates(std::string_view name, std::string_view path)
      : name_(name),
        rest_(path),
        in_path_(name.find('/') == std::string_view::npos),
        done_(in_path_ && path.data() == nullptr) {}

  // False: there are no more. Candidates longer than kMaxPath are left out.
  bool Next(PathText* candidate);

 private:
  std::string_view name_;
  std::string_view rest_;
  bool in_path_;
  bool done_;
};

// Calls `try_exec(path)`, which returns only on failure and then an errno, for each candidate until
// none is left or the failure is final. Returns the errno that explains best: EACCES wins over "not
// there", as in execvp(3). `*tried` is the candidate that it is about, or `name` if none was there.
template <typename TryExec>
int SearchAndExec(std::string_view name, std::string_view path, TryExec try_exec, PathText* tried) {
  CommandCandidates candidates(name, path);
  PathText candidate;
  tried->Assign({name});
  int result = ENOENT;
  while (candidates.Next(&candidate)) {
    const int error = try_exec(candidate.c_str());
    if (error == EACCES) {
      if (result != EACCES) *tried = candidate;
      result = EACCES;
    } else if (error != ENOENT && error != ENOTDIR) {
      *tried = candidate;
      return error;
    }
  }
  return result;
}

}  // namespace hull::agent

#endif  // GUEST_AGENT_COMMAND_H_
