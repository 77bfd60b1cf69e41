#include "vmm/cli/hull_main.h"

int main(int argc, char** argv) { return hull::cli::HullMain(argc, argv); }
