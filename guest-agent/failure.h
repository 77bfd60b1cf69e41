// Why something could not be started, for the host's StartFailed or Fatal.

#ifndef GUEST_AGENT_FAILURE_H_
#define GUEST_AGENT_FAILURE_H_

#include <string.h>

#include <initializer_list>
#include <string_view>

#include "guest-agent/messages.h"

namespace hull::agent {

struct Failure {
  StartFailure kind = StartFailure::kInternal;
  Explanation message;
};

// The text of an errno, without the locale machinery behind strerror().
inline std::string_view ErrorText(int error) {
  const char* const text = strerrordesc_np(error);
  return text != nullptr ? text : "unknown error";
}

// Fills `*failure`; always false, so that it can be returned. `error` 0: no errno to add.
inline bool Fail(Failure* failure, StartFailure kind, int error,
                 std::initializer_list<std::string_view> parts) {
  failure->kind = kind;
  failure->message.Assign(parts);
  if (error != 0) {
    failure->message.Append(": ");
    failure->message.Append(ErrorText(error));
  }
  return false;
}

}  // namespace hull::agent

#endif  // GUEST_AGENT_FAILURE_H_
