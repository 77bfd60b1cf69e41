// hull-vmm, whose calls can be made to fail.

#include "tests/faults/faults.h"
#include "vmm/cli/vmm_main.h"
#include "vmm/sandbox/seccomp.h"

int main(int argc, char** argv) {
  hull::faults::Start();
  return hull::cli::VmmMain(argc, argv, hull::sandbox::ConfineThread);
}
