#include "vmm/display/shared_screen.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

#include "vmm/base/posix_error.h"
#include "vmm/base/status_macros.h"
#include "vmm/container/screen.h"

namespace hull::display {
namespace {

constexpr uint32_t kTileWidth = 64;
constexpr uint32_t kTileHeight = 16;

}  // namespace

// Pages of it that no picture has reached are never touched.
struct SharedScreen::Shared {
  std::atomic<uint32_t> generation;
  std::atomic<uint32_t> width;
  std::atomic<uint32_t> height;
  uint32_t pixels[container::kMaxPicturePixels];
};

SharedScreen::SharedScreen(ScopedMmap memory) : memory_(std::move(memory)) {}

absl::StatusOr<SharedScreen> SharedScreen::Create() {
  static_assert(std::atomic<uint32_t>::is_always_lock_free);
  HULL_ASSIGN_OR_RETURN(ScopedMmap memory, ScopedMmap::Map(sizeof(Shared), PROT_READ | PROT_WRITE,
                                                           MAP_SHARED | MAP_ANONYMOUS));
  return SharedScreen(std::move(memory));
}

SharedScreen::Shared* SharedScreen::shared() const {
  // SAFETY: the kernel's zeros are a Shared of no pixels, at the beginning of a page.
  return std::launder(reinterpret_cast<Shared*>(memory_.data()));
}

uint32_t SharedScreen::generation() const {
  return shared()->generation.load(std::memory_order_acquire);
}

absl::Status SharedScreen::MakeReadOnly() {
  if (mprotect(memory_.data(), memory_.size(), PROT_READ) != 0) {
    return PosixError("make the screen's memory read-only");
  }
  return absl::OkStatus();
}

void SharedScreen::Publish(const container::Picture& picture) {
  const size_t count = size_t{picture.width} * picture.height;
  Shared* const to = shared();
  const auto pixel = [&picture](size_t i) {
    const auto byte = [&picture, i](size_t part) {
      return uint32_t{static_cast<uint8_t>(picture.rgb[3 * i + part])};
    };
    return byte(0) | byte(1) << 8 | byte(2) << 16;
  };
  size_t first = 0;
  if (to->width == picture.width && to->height == picture.height) {
    while (first < count && to->pixels[first] == pixel(first)) ++first;
    if (first == count) return;
  }
  to->generation.fetch_add(1, std::memory_order_acq_rel);
  to->width = picture.width;
  to->height = picture.height;
  for (size_t i = first; i < count; ++i) to->pixels[i] = pixel(i);
  to->generation.fetch_add(1, std::memory_order_release);
}

std::vector<Rectangle> SharedScreen::Update(Frame* frame) const {
  const Shared* const from = shared();
  const uint32_t width = from->width;
  const uint32_t height = from->height;
  // While both change they may be of two pictures.
  if (uint64_t{width} * height > container::kMaxPicturePixels) return {};
  if (width != frame->width || height != frame->height) {
    frame->width = width;
    frame->height = height;
    frame->pixels.assign(from->pixels, from->pixels + size_t{width} * height);
    return {{.x = 0, .y = 0, .width = width, .height = height}};
  }
  std::vector<Rectangle> changed;
  for (uint32_t y = 0; y < height; y += kTileHeight) {
    const uint32_t rows = std::min(kTileHeight, height - y);
    for (uint32_t x = 0; x < width; x += kTileWidth) {
      const uint32_t columns = std::min(kTileWidth, width - x);
      bool differs = false;
      for (uint32_t row = y; row < y + rows; ++row) {
        const size_t at = size_t{row} * width + x;
        if (std::memcmp(&frame->pixels[at], &from->pixels[at], columns * sizeof(uint32_t)) == 0) {
          continue;
        }
        std::memcpy(&frame->pixels[at], &from->pixels[at], columns * sizeof(uint32_t));
        differs = true;
      }
      if (differs) changed.push_back({.x = x, .y = y, .width = columns, .height = rows});
    }
  }
  return changed;
}

}  // namespace hull::display
