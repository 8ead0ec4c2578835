#include "network/frame_queue.h"

#include <algorithm>

namespace sparrot {

void FrameQueue::Push(const float* rows, std::size_t stride, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i, ++received_) {
    if (received_ < forgotten_) {
      first_ = received_ + 1;
      continue;
    }
    rows_.insert(rows_.end(), rows + i * stride, rows + i * stride + width_);
  }
}

void FrameQueue::Copy(std::ptrdiff_t index, float* to) const {
  if (index < first_ || index >= received_) {
    std::fill_n(to, width_, 0.0F);
    return;
  }
  std::copy_n(rows_.data() + static_cast<std::size_t>(index - first_) * width_, width_, to);
}

void FrameQueue::Forget(std::ptrdiff_t index) {
  forgotten_ = std::max(forgotten_, index);
  const auto held = static_cast<std::ptrdiff_t>(rows_.size() / std::max<std::size_t>(width_, 1));
  const std::ptrdiff_t unwanted = std::min(forgotten_ - first_, held);
  if (2 * unwanted <= held) return;  // moved only then, so a long backlog costs linear time
  rows_.erase(rows_.begin(), rows_.begin() + unwanted * static_cast<std::ptrdiff_t>(width_));
  first_ += unwanted;
}

}  // namespace sparrot
