// What the verbs that deal with existing containers have in common.

#ifndef VMM_CLI_CONTAINERS_H_
#define VMM_CLI_CONTAINERS_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/installation.h"
#include "vmm/cli/place.h"
#include "vmm/container/container_store.h"

namespace hull::cli {

// The containers' store, with what dead containers left cleared away. What cannot be is told and
// keeps nobody from the rest.
absl::StatusOr<std::unique_ptr<container::ContainerStore>> OpenContainers(
    const Installation& installation);

// Parses what follows the verb, finds the installation, and goes where the command runs: the exit
// status if the command is done with that. `subjects` and `forward_stdin` are asked after the
// parsing: what the command is about, and whether it reads standard input.
std::optional<int> BeginCommand(
    CLI::App* app, const std::vector<std::string>& args, Needs needs, Installation* installation,
    const std::function<Subjects()>& subjects,
    const std::function<bool()>& forward_stdin = [] { return false; });

// Containers with these names; without any, all there are.
Subjects ContainersOrAll(const std::vector<std::string>& names);

// A container as the user called it.
struct Named {
  std::string name;
  container::ContainerInfo info;
};
absl::StatusOr<Named> FindContainer(container::ContainerStore* store, const std::string& name);

// Whether it has processes, and they are not paused.
bool Runs(const container::ContainerInfo& info);

// All containers, each called by its id.
absl::StatusOr<std::vector<Named>> AllContainers(container::ContainerStore* store);

// Keeps the first failure of several.
void Note(int status, int* overall);

// How a verb takes the names of containers, or --all.
struct SelectionRules {
  std::string verb;
  bool running_only = false;               // --all means those that run
  bool ignore_missing = false;             // one that does not exist is no error
  std::optional<int> missing_status = {};  // the exit status for one; none: that of other failures
};
struct Selection {
  std::unique_ptr<container::ContainerStore> store;
  std::vector<Named> containers;
  int status = 0;  // of the names that could not be found, which have been told
};
// Opens the store and finds the containers: an exit status if the command cannot go on.
std::optional<int> SelectContainers(const Installation& installation, const SelectionRules& rules,
                                    const std::vector<std::string>& names, bool all,
                                    Selection* selection);

// "container state improper", in podman's words: `what` is not possible in this state.
absl::Status WrongState(const container::ContainerInfo& info, absl::string_view what);

// Connects to the monitor of a container that is alive, which may be about to listen.
// kFailedPrecondition if the container is not, or no longer, alive.
absl::StatusOr<UniqueFd> Connect(container::ContainerStore* store, const std::string& id);

// Waits until nobody holds the container's lock, or there is no such container any more.
absl::Status AwaitDead(container::ContainerStore* store, const std::string& id,
                       absl::Duration timeout);

}  // namespace hull::cli

#endif  // VMM_CLI_CONTAINERS_H_
