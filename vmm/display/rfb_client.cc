#include "vmm/display/rfb_client.h"

#include <rfb/rfb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "vmm/display/input.h"
#include "vmm/display/keyboard.h"

namespace hull::display {
namespace {

constexpr absl::Duration kHandshakeTime = absl::Seconds(30);
constexpr int kMaxClientWaitMs = 10'000;
// How long one pass waits for the client, and so how soon it sees what has changed.
constexpr long kPassMicroseconds = 20'000;
// How long a client waits for the machine's first picture, and what is shown if that is not there.
constexpr absl::Duration kFirstPictureTime = absl::Seconds(2);
constexpr absl::Duration kFirstPictureInterval = absl::Milliseconds(10);
constexpr uint32_t kFirstWidth = 720;
constexpr uint32_t kFirstHeight = 400;
constexpr int kBitsPerSample = 8;
constexpr int kSamplesPerPixel = 3;
constexpr int kBytesPerPixel = 4;
constexpr int kMaxCoordinate = INT16_MAX;

class RfbClient {
 public:
  RfbClient(UniqueFd input, const SharedScreen& screen, const std::string& password)
      : input_(std::move(input)), shared_(screen), password_(password) {}
  RfbClient(const RfbClient&) = delete;
  RfbClient& operator=(const RfbClient&) = delete;
  ~RfbClient() {
    if (screen_ != nullptr) rfbScreenCleanup(screen_);
  }

  void Serve(UniqueFd socket) {
    AwaitFirstPicture();
    if (!MakeScreen()) return;
    // From here on libvncserver's, which closes it.
    rfbClientPtr const client = rfbNewClient(screen_, socket.Release());
    if (client == nullptr) return;
    client->clientData = this;
    client->clientGoneHook = [](rfbClientPtr gone) {
      static_cast<RfbClient*>(gone->clientData)->gone_ = true;
    };
    client->clientFramebufferUpdateRequestHook = [](rfbClientPtr asking,
                                                    rfbFramebufferUpdateRequestMsg*) {
      static_cast<RfbClient*>(asking->clientData)->asked_ = true;
    };
    const absl::Time handshake_end = absl::Now() + kHandshakeTime;
    while (!gone_ && ServerIsThere()) {
      rfbProcessEvents(screen_, kPassMicroseconds);
      if (gone_) break;
      if (client->state != rfbClientRec::RFB_NORMAL && absl::Now() > handshake_end) break;
      // Before it asks it has not said whether it can follow a change of the size.
      if (asked_) Refresh();
    }
    Send(EncodeKeysIfAny(keyboard_.ReleaseAll()));
    if (buttons_ != 0) Send(EncodeMovement({}));
  }

 private:
  static RfbClient* Of(rfbClientPtr client) {
    return static_cast<RfbClient*>(client->screen->screenData);
  }

  void AwaitFirstPicture() {
    const absl::Time deadline = absl::Now() + kFirstPictureTime;
    while (shared_.generation() < 2 && absl::Now() < deadline) {
      absl::SleepFor(kFirstPictureInterval);
    }
    shared_.Update(&frame_);
    if (!frame_.pixels.empty()) return;
    frame_ = {.width = kFirstWidth, .height = kFirstHeight};
    frame_.pixels.resize(size_t{kFirstWidth} * kFirstHeight);
  }

  bool MakeScreen() {
    screen_ = rfbGetScreen(nullptr, nullptr, static_cast<int>(frame_.width),
                           static_cast<int>(frame_.height), kBitsPerSample, kSamplesPerPixel,
                           kBytesPerPixel);
    if (screen_ == nullptr) return false;
    screen_->screenData = this;
    screen_->desktopName = "Hull";
    screen_->frameBuffer = reinterpret_cast<char*>(frame_.pixels.data());
    // It listens nowhere: the client is handed to it.
    screen_->port = 0;
    screen_->ipv6port = 0;
    screen_->autoPort = FALSE;
    screen_->ignoreSIGPIPE = FALSE;  // which the process does
    screen_->alwaysShared = TRUE;
    screen_->handleEventsEagerly = TRUE;
    screen_->maxClientWait = kMaxClientWaitMs;
    screen_->permitFileTransfer = FALSE;
    // A PC draws its own.
    screen_->cursor = nullptr;
    screen_->kbdAddEvent = [](rfbBool down, rfbKeySym symbol, rfbClientPtr client) {
      RfbClient* const self = Of(client);
      self->Send(EncodeKeysIfAny(down != FALSE ? self->keyboard_.Press(symbol)
                                               : self->keyboard_.Release(symbol)));
    };
    screen_->ptrAddEvent = [](int buttons, int x, int y, rfbClientPtr client) {
      Of(client)->Point(buttons, x, y);
    };
    // Nor is anything pasted.
    screen_->setXCutText = [](char*, int, rfbClientPtr) {};
    if (!password_.empty()) {
      passwords_[0] = password_.data();
      screen_->authPasswdData = passwords_;
      screen_->passwordCheck = rfbCheckPasswordByList;
    }
    rfbInitServer(screen_);
    return true;
  }

  // Follows the machine's screen.
  void Refresh() {
    const uint32_t generation = shared_.generation();
    if (generation == seen_ || generation % 2 != 0) return;
    const std::vector<Rectangle> changed = shared_.Update(&frame_);
    // If it went on meanwhile the rest comes with the next pass.
    if (shared_.generation() == generation) seen_ = generation;
    if (static_cast<int>(frame_.width) != screen_->width ||
        static_cast<int>(frame_.height) != screen_->height) {
      if (frame_.pixels.empty()) return;
      rfbNewFramebuffer(screen_, reinterpret_cast<char*>(frame_.pixels.data()),
                        static_cast<int>(frame_.width), static_cast<int>(frame_.height),
                        kBitsPerSample, kSamplesPerPixel, kBytesPerPixel);
      return;
    }
    for (const Rectangle& part : changed) {
      rfbMarkRectAsModified(screen_, static_cast<int>(part.x), static_cast<int>(part.y),
                            static_cast<int>(part.x + part.width),
                            static_cast<int>(part.y + part.height));
    }
  }

  void Point(int buttons, int x, int y) {
    x = std::clamp(x, 0, kMaxCoordinate);
    y = std::clamp(y, 0, kMaxCoordinate);
    // RFB's middle and right button have each other's bits.
    const auto pressed =
        static_cast<uint8_t>((buttons & 1) | (buttons & 4) >> 1 | (buttons & 2) << 1);
    const Movement movement = {.dx = static_cast<int16_t>(pointed_ ? x - x_ : 0),
                               .dy = static_cast<int16_t>(pointed_ ? y_ - y : 0),
                               .buttons = pressed};
    const bool news = movement.dx != 0 || movement.dy != 0 || pressed != buttons_;
    pointed_ = true;
    x_ = x;
    y_ = y;
    buttons_ = pressed;
    if (news) Send(EncodeMovement(movement));
  }

  static std::string EncodeKeysIfAny(const std::vector<uint8_t>& codes) {
    return codes.empty() ? "" : EncodeKeys(codes);
  }

  // What the server has no room for is lost, as on a keyboard that nobody reads.
  void Send(const std::string& message) {
    if (message.empty()) return;
    send(input_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  bool ServerIsThere() const {
    char byte;
    return recv(input_.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }

  const UniqueFd input_;
  const SharedScreen& shared_;
  std::string password_;
  char* passwords_[2] = {nullptr, nullptr};
  rfbScreenInfoPtr screen_ = nullptr;
  Frame frame_;
  uint32_t seen_ = 0;  // the generation that `frame_` is of
  bool gone_ = false;
  bool asked_ = false;  // for an update
  Keyboard keyboard_;
  bool pointed_ = false;  // the position below is known
  int x_ = 0;
  int y_ = 0;
  uint8_t buttons_ = 0;
};

}  // namespace

void ServeRfbClient(UniqueFd client, UniqueFd input, const SharedScreen& screen,
                    const std::string& password) {
  RfbClient(std::move(input), screen, password).Serve(std::move(client));
}

void PrepareRfb() {
  rfbLogEnable(FALSE);
  // The first use of libgcrypt looks at the processor and the system.
  unsigned char challenge[CHALLENGESIZE] = {};
  char password[] = "password";
  rfbEncryptBytes(challenge, password);
}

}  // namespace hull::display
