// Where the program hull-unpack is, and whose rights it may take.

#ifndef IMAGES_UNPACK_PROGRAM_H_
#define IMAGES_UNPACK_PROGRAM_H_

#include <string>

namespace hull::images {

struct UnpackProgram {
  std::string path = {};
  // Run by root, it gets a user of its own: out of these (FIRST:COUNT, empty: the default), claimed
  // in this file (vmm/sandbox/user_range.h), which is made if it is not there.
  std::string users = {};
  std::string user_claims = {};
};

}  // namespace hull::images

#endif  // IMAGES_UNPACK_PROGRAM_H_
