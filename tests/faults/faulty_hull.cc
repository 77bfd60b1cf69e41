// hull and its monitor, whose calls can be made to fail.

#include "tests/faults/faults.h"
#include "vmm/cli/hull_main.h"

int main(int argc, char** argv) {
  hull::faults::Start();
  return hull::cli::HullMain(argc, argv);
}
