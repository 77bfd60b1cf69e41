#include "images/unpack_main.h"

int main(int argc, char** argv) {
  return hull::images::UnpackMain(argc, argv, hull::images::ConfineUnpacker);
}
