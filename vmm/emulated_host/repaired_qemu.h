// Which QEMU the supervisor runs: the installed one, or the copy of it that repair_qemu.py made.

#ifndef VMM_EMULATED_HOST_REPAIRED_QEMU_H_
#define VMM_EMULATED_HOST_REPAIRED_QEMU_H_

#include <string>

#include "absl/strings/string_view.h"

namespace hull::emulated_host {

// The program to execute for `name`, which has no slash and is looked up in `path`, a list of
// directories as in PATH. That is `directory`/bin/`name` if `directory`/of says that this was made
// of the very file that is found: "SIZE MTIME PATH\n", in bytes and whole seconds since 1970.
// Otherwise, such as after QEMU was upgraded, it is `name`.
std::string ChooseQemu(absl::string_view name, absl::string_view path, absl::string_view directory);

}  // namespace hull::emulated_host

#endif  // VMM_EMULATED_HOST_REPAIRED_QEMU_H_
