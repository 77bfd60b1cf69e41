// What compile_policy makes of the policies: BPF programs and names, as data.

#ifndef VMM_SANDBOX_FILTERS_H_
#define VMM_SANDBOX_FILTERS_H_

#include <linux/filter.h>

#include <cstddef>

namespace hull::sandbox {

extern const sock_filter kSetupFilter[];
extern const size_t kSetupFilterSize;
extern const sock_filter kVcpuFilter[];
extern const size_t kVcpuFilterSize;
extern const sock_filter kEventLoopFilter[];
extern const size_t kEventLoopFilterSize;
extern const sock_filter kBlockWorkerFilter[];
extern const size_t kBlockWorkerFilterSize;
extern const sock_filter kUnpackFilter[];
extern const size_t kUnpackFilterSize;
extern const sock_filter kMonitorFilter[];
extern const size_t kMonitorFilterSize;
extern const sock_filter kDisplayFilter[];
extern const size_t kDisplayFilterSize;
extern const sock_filter kDisplayClientFilter[];
extern const size_t kDisplayClientFilterSize;

// x86-64's system calls by number; empty where there is none.
extern const char* const kSystemCallNames[];
extern const size_t kSystemCallCount;

}  // namespace hull::sandbox

#endif  // VMM_SANDBOX_FILTERS_H_
