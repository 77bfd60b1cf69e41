// The files of a layout directory, opened by one process for another that can open none.
//
// The reader sends a path, at most kMaxBrokerPath bytes in one packet, and gets a descriptor, or a
// status code and a message. It trusts the answer; the opener trusts nothing: a path leads to a
// regular file below the directory or nowhere.

#ifndef IMAGES_OCI_FILE_BROKER_H_
#define IMAGES_OCI_FILE_BROKER_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/base/unique_fd.h"

namespace hull::images {

// Longer than every path in a layout.
inline constexpr size_t kMaxBrokerPath = 255;

// Opens a regular file for reading. `path` is relative to `directory`; its links may not lead out
// of that. kNotFound; kInvalidArgument for what is no regular file, or would lead out.
absl::StatusOr<UniqueFd> OpenBeneath(int directory, const std::string& path);

// The reader's side: one request and its answer over `socket`, which is of type SOCK_SEQPACKET.
absl::StatusOr<UniqueFd> RequestFile(int socket, const std::string& path);

// The opener's side: answers until the reader has closed its end. An error means that the reader
// sent what is no request.
absl::Status ServeFiles(int socket, int directory);

}  // namespace hull::images

#endif  // IMAGES_OCI_FILE_BROKER_H_
