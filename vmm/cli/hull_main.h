// The program `hull`: finds the verb and leaves the rest to it.

#ifndef VMM_CLI_HULL_MAIN_H_
#define VMM_CLI_HULL_MAIN_H_

namespace hull::cli {

// main() of hull. Returns its exit status.
int HullMain(int argc, char** argv);

}  // namespace hull::cli

#endif  // VMM_CLI_HULL_MAIN_H_
