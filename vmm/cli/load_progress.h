// The line that says how far a load is.

#ifndef VMM_CLI_LOAD_PROGRESS_H_
#define VMM_CLI_LOAD_PROGRESS_H_

#include <string>

#include "images/store.h"

namespace hull::cli {

// "busybox: layer 1 of 2, 45 %", rewritten in place on a terminal; silent on anything else.
std::string DescribeProgress(const images::LoadProgress& progress);

class LoadProgressLine {
 public:
  LoadProgressLine();
  void Show(const images::LoadProgress& progress);
  // Takes the line away, if there is one.
  void Clear();

 private:
  bool terminal_ = false;
  std::string shown_;
};

}  // namespace hull::cli

#endif  // VMM_CLI_LOAD_PROGRESS_H_
