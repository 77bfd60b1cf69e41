// The program hull-vmm, but for what confines its threads: tests try to break out of them.

#ifndef VMM_CLI_VMM_MAIN_H_
#define VMM_CLI_VMM_MAIN_H_

#include "vmm/machine/machine.h"

namespace hull::cli {

// Returns the exit status (vmm/README.md), or ends the process.
int VmmMain(int argc, char** argv, machine::Machine::ThreadStart thread_start);

}  // namespace hull::cli

#endif  // VMM_CLI_VMM_MAIN_H_
