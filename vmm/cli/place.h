// Whether a command runs here or in the emulated host.
//
// Where the CPU has no virtualisation, containers of the micro machine, and their images, are in
// the emulated host. A pc machine runs on any /dev/kvm: its images and containers are in this
// machine's own store there. So a command that names something is run where that is.

#ifndef VMM_CLI_PLACE_H_
#define VMM_CLI_PLACE_H_

#include <optional>
#include <string>
#include <vector>

#include "vmm/cli/installation.h"

namespace hull::cli {

enum class Needs {
  kKvm,    // a container will run
  kStore,  // only images and containers are looked at
};

// What a command is about, as the user called it.
struct Subjects {
  enum class Kind { kContainers, kImages, kEither };
  // Whether it is about all that there are; otherwise about these names, which may be none.
  static Subjects All(Kind kind) { return {.kind = kind, .names = {}, .all = true}; }
  static Subjects Of(Kind kind, std::vector<std::string> names) {
    return {.kind = kind, .names = std::move(names), .all = false};
  }

  Kind kind = Kind::kContainers;
  std::vector<std::string> names = {};
  bool all = false;
};

// If the command has to run in the emulated host: runs `hull args...` there and returns its exit
// status, or ends this process by the signal that ended it. Nothing if it runs here.
//
// A command about all that there are runs in both places, if both have something: this returns
// nothing in a child of this process, and the status of the two in this process.
std::optional<int> RunElsewhere(const Installation& installation, Needs needs,
                                const std::vector<std::string>& args, bool forward_stdin,
                                const Subjects& subjects = {});

// Whether a pc machine runs here and other machines in the emulated host: there is a /dev/kvm that
// this user may use but that runs no Linux, and nobody has asked for the emulated host.
bool PcRunsApart();

// Two outputs of the same listing as one: JSON lists become one list, and a heading stands once.
// Pure.
std::string MergeListings(const std::string& here, const std::string& there);

}  // namespace hull::cli

#endif  // VMM_CLI_PLACE_H_
