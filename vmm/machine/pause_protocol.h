// What a machine's monitor and the machine say to each other over the socket that `pause` names in
// the specification, of type SOCK_SEQPACKET: each message is one byte.

#ifndef VMM_MACHINE_PAUSE_PROTOCOL_H_
#define VMM_MACHINE_PAUSE_PROTOCOL_H_

namespace hull::machine {

// To the machine: the vCPUs are to pause, or to go on. From it: none runs any more, or all go on. A
// request that is overtaken by its opposite has no answer of its own, and neither has one to a
// machine that ends.
inline constexpr char kPause = 'P';
inline constexpr char kResume = 'R';

}  // namespace hull::machine

#endif  // VMM_MACHINE_PAUSE_PROTOCOL_H_
