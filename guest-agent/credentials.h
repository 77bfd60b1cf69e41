// The rights a process starts with. System calls only; each call is about the calling process.

#ifndef GUEST_AGENT_CREDENTIALS_H_
#define GUEST_AGENT_CREDENTIALS_H_

#include "guest-agent/accounts.h"
#include "guest-agent/failure.h"
#include "guest-agent/start_request.h"

namespace hull::agent {

// Reads the (container's) /etc/passwd and /etc/group and resolves `user`. `identity->home` stays
// valid for the life of the process.
bool LookUpUser(std::string_view user, Identity* identity, Failure* failure);

bool SetRlimits(const StartRequest& request, Failure* failure);

// Groups, gid, uid, the five capability sets and no_new_privs, in the only order that works.
bool SetCredentials(const StartRequest& request, const Identity& identity, Failure* failure);

}  // namespace hull::agent

#endif  // GUEST_AGENT_CREDENTIALS_H_
