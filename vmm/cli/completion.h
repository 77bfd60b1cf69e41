// What a shell offers for the word that is typed after `hull`. Pure: what there is comes from the
// caller.

#ifndef VMM_CLI_COMPLETION_H_
#define VMM_CLI_COMPLETION_H_

#include <functional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/string_view.h"

namespace hull::cli {

// The only argument of a verb that is asked to print DescribeVerb() and to do nothing else.
inline constexpr char kDescribeFlag[] = "--describe-for-completion";

// A verb's help, and after it the same definitions for a program: a line "\tflag" with the names of
// each, also of those that the help leaves out, and "=" if it takes a value, all separated by tabs.
std::string DescribeVerb(const CLI::App& app);

struct VerbDescription {
  struct Flag {
    std::vector<std::string> names;  // "-m", "--memory"
    bool takes_value = false;
  };
  std::vector<std::string> verbs;     // of a verb that is a group of others
  std::vector<Flag> flags;            // "--help" included
  std::vector<std::string> operands;  // as the usage calls them: "CONTAINER..."
};
// Reads what DescribeVerb() gave, or for a group the text of its help. `path` is the verb's name,
// of a verb of a group with the group's before it.
VerbDescription ParseDescription(const std::vector<std::string>& path, absl::string_view text);

// Which containers a verb can do something with; one that is alive runs or is paused.
enum class ContainerState { kAny, kAlive, kRunning, kPaused, kNotRunning };

struct CompletionSources {
  std::vector<std::string> verbs;
  // Of what is in `verbs`, and of the verbs of a group.
  std::function<VerbDescription(const std::vector<std::string>& path)> describe;
  // Each begins with the prefix.
  std::function<std::vector<std::string>(ContainerState state, absl::string_view prefix)>
      containers;
  std::function<std::vector<std::string>(absl::string_view prefix)> images;
  std::function<std::vector<std::string>(absl::string_view prefix)> volumes;
};

// Stands for the names of files, which the shell knows better.
inline constexpr char kFilesCandidate[] = ":files";

// The candidates for the last of `words`, which are those after `hull`, sorted. Each begins with
// the word as far as it is typed, but for kFilesCandidate. One that ends with ':' is to be typed
// on. `words` is not empty.
std::vector<std::string> Complete(const std::vector<std::string>& words,
                                  const CompletionSources& sources);

// The way that the user would type an image's name, if one begins with the prefix: "busybox" for
// "docker.io/library/busybox:latest", but with a prefix "docker.io" that. Otherwise "".
std::string ImageNameFor(absl::string_view repository, absl::string_view tag,
                         absl::string_view prefix);

}  // namespace hull::cli

#endif  // VMM_CLI_COMPLETION_H_
