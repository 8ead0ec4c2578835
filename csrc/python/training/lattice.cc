#include "training/lattice.h"

#include <nanobind/stl/optional.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "network/threads.h"
#include "python/arrays.h"
#include "python/training/bindings.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

using Lengths = Array<const std::int64_t, -1>;

template <class Real>
using Edges = Array<const Real, -1, -1, -1, 2>;

void CheckLength(std::int64_t length, std::int64_t least, std::size_t most, const char* name, std::size_t utterance) {
  if (length >= least && length <= static_cast<std::int64_t>(most)) return;
  throw std::invalid_argument("`" + std::string(name) + "` of utterance " + std::to_string(utterance) + " is " +
                              std::to_string(length) + ": it must be " + std::to_string(least) + " to " +
                              std::to_string(most));
}

template <class Real>
void LatticeLosses(const Edges<Real>& edges, const Lengths& lengths, const Lengths& target_lengths,
                   const Array<double, -1>& losses, const std::optional<Array<Real, -1, -1, -1, 2>>& gradient,
                   std::size_t threads) {
  const std::size_t n = edges.shape(0), frames = edges.shape(1), width = edges.shape(2);
  if (lengths.size() != n || target_lengths.size() != n || losses.size() != n || width == 0 ||
      (gradient && (gradient->shape(0) != n || gradient->shape(1) != frames || gradient->shape(2) != width))) {
    throw std::invalid_argument("arrays of different batches, or of none");
  }
  for (std::size_t i = 0; i < n; ++i) {
    CheckLength(lengths.data()[i], 1, frames, "lengths", i);
    CheckLength(target_lengths.data()[i], 0, width - 1, "target_lengths", i);
  }
  SetThreads(threads);
  const nb::gil_scoped_release release;
  RunTasks(n, [&](std::size_t i) {
    const std::size_t begin = i * frames * width * 2;
    const Lattice<Real> lattice{edges.data() + begin, static_cast<std::size_t>(lengths.data()[i]),
                                static_cast<std::size_t>(target_lengths.data()[i]), width};
    losses.data()[i] = LatticeLoss(lattice, gradient ? gradient->data() + begin : nullptr);
  });
}

}  // namespace

void BindLattice(nb::module_& module) {
  using nb::arg;
  const auto define = [&](auto function) {
    module.def("lattice_losses", function, arg("edges").noconvert(), arg("lengths").noconvert(),
               arg("target_lengths").noconvert(), arg("losses").noconvert(), arg("gradient").noconvert().none(),
               nb::kw_only(), arg("threads"), "Writes losses of transducer lattices and their gradients.");
  };
  define(&LatticeLosses<float>);
  define(&LatticeLosses<double>);
}

}  // namespace sparrot
