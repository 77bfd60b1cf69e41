// hull-vmm: one process, one machine. See vmm/README.md.

#include "vmm/cli/vmm_main.h"
#include "vmm/sandbox/seccomp.h"

int main(int argc, char** argv) {
  return hull::cli::VmmMain(argc, argv, hull::sandbox::ConfineThread);
}
