#include "guest-agent/kernel_log.h"

#include <fcntl.h>
#include <unistd.h>

#include "guest-agent/fd.h"
#include "guest-agent/text.h"

namespace hull::agent {

void KernelLog::Write(char level, std::initializer_list<std::string_view> parts) {
  const Fd kmsg(open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NOCTTY));
  if (!kmsg.valid()) return;
  // The kernel takes one line a write, of less than 1 KiB.
  FixedText<900> line;
  line.Append("<");
  line.Append({&level, 1});
  line.Append(">hull-agent: ");
  for (std::string_view part : parts) line.Append(part);
  // Nobody is left to tell if this fails.
  [[maybe_unused]] const ssize_t written =
      write(kmsg.get(), line.view().data(), line.view().size());
}

}  // namespace hull::agent
