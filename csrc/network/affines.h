// Scales and shifts of a layer's values, one pair for every stop.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "network/matrix.h"

namespace sparrot {

// Scale and shift of every value, padded with zeros to whole strips.
struct Affine {
  std::vector<float> scale;
  std::vector<float> shift;

  // y[i] = x[i] · scale[i] + shift[i]   for the values and their padding; y may be x
  void Apply(const float* x, float* y) const;
};

// The affines of a layer. Those of the next stop are added by one thread while others use the earlier ones.
class Affines {
 public:
  // size: values that have a scale of their own, each for `repeat` neighbours.
  Affines(std::size_t size, std::size_t repeat) : size_(size), repeat_(repeat) {}

  // The next stop's; each is padded to whole strips. Throws std::invalid_argument if one is not.
  void Add(std::span<const float> scale, std::span<const float> shift);

  // That of a stream that uses so many segments: of the last of them.
  const Affine& Of(std::size_t n_segments) const;

  std::size_t width() const { return size_ * repeat_; }

 private:
  std::vector<float> Repeated(std::span<const float> values) const;

  std::size_t size_;
  std::size_t repeat_;
  std::array<std::optional<Affine>, kMaxStops> affines_;
  std::atomic<std::size_t> n_affines_ = 0;
};

}  // namespace sparrot
