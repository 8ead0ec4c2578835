// The frames of one segment that a layer still needs.
#pragma once

#include <cstddef>
#include <vector>

namespace sparrot {

// Frames of a segment by index, zeros on both sides of it. They arrive in order, are read any number of times
// and are given up from the front. Memory is that of the frames between, at most twice.
class FrameQueue {
 public:
  explicit FrameQueue(std::size_t width) : width_(width) {}

  // Appends n rows that lie `stride` values apart; those that were given up in advance are dropped.
  void Push(const float* rows, std::size_t stride, std::size_t n);

  // Frame `index`, which has not been given up, into to[width].
  void Copy(std::ptrdiff_t index, float* to) const;

  // Gives up all frames before `index`, also those that have not arrived yet.
  void Forget(std::ptrdiff_t index);

  std::ptrdiff_t received() const { return received_; }
  std::size_t width() const { return width_; }

 private:
  std::size_t width_;
  std::vector<float> rows_;       // frames first_ … received_ − 1
  std::ptrdiff_t first_ = 0;      // may lie past received_: the frames up to it are dropped when they come
  std::ptrdiff_t forgotten_ = 0;  // frames before it may be given up; first_ follows when it pays
  std::ptrdiff_t received_ = 0;
};

}  // namespace sparrot
