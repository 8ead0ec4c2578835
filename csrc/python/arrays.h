// NumPy arrays as arguments and results.
#pragma once

#include <nanobind/ndarray.h>

#include <initializer_list>
#include <utility>
#include <vector>

namespace sparrot {

template <typename T, nanobind::ssize_t... kShape>
using Array = nanobind::ndarray<T, nanobind::shape<kShape...>, nanobind::c_contig, nanobind::device::cpu>;

// A NumPy array that owns its values.
template <typename T>
nanobind::object NewArray(std::vector<T>&& values, std::initializer_list<std::size_t> shape) {
  auto* owned = new std::vector<T>(std::move(values));
  const nanobind::capsule owner(owned, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nanobind::cast(nanobind::ndarray<nanobind::numpy, T>(owned->data(), shape, owner));
}

}  // namespace sparrot
