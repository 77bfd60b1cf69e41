// hull-unpack without its sandbox, for tests under the sanitizers alone.

#include "images/unpack_main.h"

int main(int argc, char** argv) { return hull::images::UnpackMain(argc, argv, nullptr); }
