// A pc machine in hull-vmm, looked at and typed on through its control socket.

#ifndef TESTS_INTEGRATION_PC_GUEST_H_
#define TESTS_INTEGRATION_PC_GUEST_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tests/integration/vmm_process.h"
#include "vmm/base/unique_fd.h"

namespace hull {

class PcGuest {
 public:
  // `more` is appended to the specification: `,"diskettes":[…]`.
  explicit PcGuest(const std::string& more,
                   const std::string& firmware = "/usr/share/seabios/bios.bin");

  VmmProcess& vmm() { return *vmm_; }

  // The rows of the screen, without the spaces at their ends.
  std::vector<std::string> Screen();
  // Whether a row that contains `text` appears within `timeout`; if not, a failure shows the
  // screen.
  bool Await(absl::string_view text, absl::Duration timeout);
  // The same for a last row that is `text`, which is how a prompt waits.
  bool AwaitPrompt(absl::string_view text, absl::Duration timeout);
  // Letters in any case, digits, blanks, and what DOS commands have else. '\n' is the enter key.
  void Type(absl::string_view text);
  // Scan codes of set 1, all of them: it waits until the guest took those before.
  void Send(std::vector<uint8_t> codes);

  // The reply to a request of control_protocol.h; empty if there is none.
  std::vector<uint8_t> Ask(const std::vector<uint8_t>& request);

 private:
  template <typename Predicate>
  bool AwaitScreen(Predicate predicate, absl::string_view text, absl::Duration timeout);

  TemporaryDirectory directory_;
  UniqueFd control_;
  std::unique_ptr<VmmProcess> vmm_;
};

}  // namespace hull

#endif  // TESTS_INTEGRATION_PC_GUEST_H_
