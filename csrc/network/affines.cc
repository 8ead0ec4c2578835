#include "network/affines.h"

#include <algorithm>
#include <stdexcept>

namespace sparrot {

void Affine::Apply(const float* x, float* y) const {
  for (std::size_t i = 0; i < scale.size(); ++i) y[i] = x[i] * scale[i] + shift[i];
}

void Affines::Add(std::span<const float> scale, std::span<const float> shift) {
  const std::size_t k = n_affines_.load(std::memory_order_relaxed);
  if (k == kMaxStops) throw std::invalid_argument("a layer has scales and shifts of 32 stops at most");
  affines_[k] = Affine{Repeated(scale), Repeated(shift)};
  n_affines_.store(k + 1, std::memory_order_release);
}

const Affine& Affines::Of(std::size_t n_segments) const {
  const std::size_t n = std::min(n_segments, n_affines_.load(std::memory_order_acquire));
  if (n == 0) throw std::invalid_argument("a layer has no scales and shifts yet");
  return *affines_[n - 1];
}

std::vector<float> Affines::Repeated(std::span<const float> values) const {
  if (values.size() != RoundUp(size_, kStripRows)) {
    throw std::invalid_argument("a vector is not of the size of its layer");
  }
  std::vector<float> repeated(RoundUp(width(), kStripRows));
  for (std::size_t i = 0; i < width(); ++i) repeated[i] = values[i / repeat_];
  return repeated;
}

}  // namespace sparrot
