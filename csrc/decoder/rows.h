// A matrix as its rows follow each other. A view: owns nothing.
#pragma once

#include <cstddef>
#include <span>

namespace sparrot {

template <typename T>
struct Rows {
  T* data;
  std::size_t n;
  std::size_t width;

  std::span<T> operator[](std::size_t row) const { return {data + row * width, width}; }
  std::span<T> All() const { return {data, n * width}; }
};

}  // namespace sparrot
