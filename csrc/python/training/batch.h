// Batches of lattices as arrays, and checks that they are such.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "kernels/kernels.h"
#include "network/threads.h"
#include "python/arrays.h"
#include "training/lattice_kernels.h"

namespace sparrot {

using Lengths = Array<const std::int64_t, -1>;

inline void CheckLength(const char* name, std::size_t utterance, std::int64_t length, const char* has,
                        std::size_t least, std::size_t most) {
  if (length >= static_cast<std::int64_t>(least) && length <= static_cast<std::int64_t>(most)) return;
  throw std::invalid_argument("`" + std::string(name) + "` of utterance " + std::to_string(utterance) + " is " +
                              std::to_string(length) + ": " + has + " " + std::to_string(least) + " to " +
                              std::to_string(most));
}

// Of lattices [n][frames][width].
inline void CheckLengths(const Lengths& lengths, const Lengths& target_lengths, std::size_t n, std::size_t frames,
                         std::size_t width) {
  if (lengths.size() != n || target_lengths.size() != n || (n > 0 && width == 0)) {
    throw std::invalid_argument("the arrays are not of one batch");
  }
  for (std::size_t i = 0; i < n; ++i) {
    CheckLength("lengths", i, lengths.data()[i], "its frames must be", 1, frames);
    CheckLength("target_lengths", i, target_lengths.data()[i], "its labels must be", 0, width - 1);
  }
}

template <class A, class B>
void CheckSameNodes(const A& a, const B& b) {
  for (std::size_t i = 0; i < 3; ++i) {
    if (a.shape(i) != b.shape(i)) throw std::invalid_argument("the arrays are not of one batch");
  }
}

// The kernels of an instruction set, or of the best.
inline const LatticeKernels& KernelsOf(const std::optional<std::string>& isa) {
  return LatticeKernelsFor(isa ? NamedKernels(*isa).name : ChosenKernels().name);
}

}  // namespace sparrot
