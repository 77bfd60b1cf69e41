// What a container's monitor and a client of its standard streams say to each other, over a Unix
// socket of type SOCK_SEQPACKET: one message is one frame. README.md here tells the order of
// frames.

#ifndef VMM_CONTAINER_ATTACH_PROTOCOL_H_
#define VMM_CONTAINER_ATTACH_PROTOCOL_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "vmm/container/config.h"

namespace hull::container {

// The socket at which clients attach, in the container's run directory.
inline constexpr char kAttachSocketName[] = "attach";

// The monitor's first frame carries it. Raised when an old client would misunderstand.
inline constexpr uint8_t kAttachVersion = 2;

// A frame: one byte of type, then the payload.
enum class AttachType : uint8_t {
  // Monitor to client.
  kHello = 1,           // u8 version
  kStandardOutput = 2,  // bytes of the process
  kStandardError = 3,   // bytes of the process
  kConsole = 4,         // bytes of the guest's serial console
  kStdinCredit = 5,     // u32: that many more bytes may be sent as kStdin
  kNotice = 6,          // text: something that the user should know; not an end
  kExited = 7,          // u8 exit status as a shell reports it; the last frame
  kFailed = 8,          // u8 exit status (125 to 127 or 128+n), text; the last frame
  kStarted = 9,         // the container's process runs
  kProcesses = 10,      // a page of processes: ParseProcessPage() of agent_messages.h
  kStatistics = 11,     // ParseStatistics()
  kPaused = 12,  // u8: 1 if the machine is paused, 0 if it runs: the answer to kPause, kResume
  kControlReply = 13,  // u8 whether it is the last part, bytes: the answer to kControlRequest

  // Client to monitor.
  kStdin = 32,         // bytes for the process
  kStdinEnd = 33,      // end of file, after what was sent
  kSignal = 34,        // u8 signal number, 1 to 64
  kKill = 35,          // end the container now, without asking the guest
  kOutputClosed = 36,  // u8: kStandardOutput or kStandardError; nobody reads it any more
  kAttach = 37,        // wants the output of the container's process from here on
  // A further process in the container: its request in parts (exec_request.h), and the word to
  // start it. From then on the client's streams, signals and end are that process's.
  kExecPart = 48,  // bytes
  kExec = 49,
  kResize = 50,         // u16 rows, u16 columns of the process's terminal
  kDetach = 51,         // the client leaves, and what it is attached to goes on
  kListProcesses = 52,  // answered by pages until one is complete or kMaxShownProcesses are told
  kGetStatistics = 53,
  // The whole machine. Answered by kPaused, or by kFailed if the process does not run.
  kPause = 54,
  kResume = 55,
  kControlRequest = 56,  // to a pc machine (vmm/machine/control_protocol.h), answered in order
};

// More processes of a container are not shown.
inline constexpr size_t kMaxShownProcesses = 1024;

// A longer payload is not a frame. A multiple of the page, and small enough that a socket buffer of
// the default size holds several.
inline constexpr size_t kMaxAttachPayload = 32768;
inline constexpr size_t kMaxAttachFrame = kMaxAttachPayload + 1;

// What the client may send as kStdin before the first kStdinCredit. With the credit the monitor's
// buffer for standard input is bounded although it never stops reading: a signal must reach a
// container that does not read its input.
inline constexpr uint32_t kInitialStdinCredit = 65536;

struct AttachFrame {
  AttachType type;
  // For the types that carry bytes or text. Refers to the decoded message.
  absl::string_view data = {};
  // For those that carry a number.
  uint32_t number = 0;
};

// Decodes one message. kInvalidArgument for an unknown type, a wrong length, or a number out of
// its range; direction is the caller's to check.
absl::StatusOr<AttachFrame> DecodeAttachFrame(absl::string_view message);

// A whole message. The pumps of the streams put the type before the bytes in place instead. Text
// beyond kMaxAttachPayload is cut.
std::string EncodeAttachFrame(const AttachFrame& frame);

// The payload of kResize as AttachFrame::number, and back.
uint32_t ResizeNumber(const TerminalSize& size);
TerminalSize FrameTerminalSize(const AttachFrame& frame);

}  // namespace hull::container

#endif  // VMM_CONTAINER_ATTACH_PROTOCOL_H_
