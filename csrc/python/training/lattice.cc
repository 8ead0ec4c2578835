#include "training/lattice.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "python/training/batch.h"
#include "python/training/bindings.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

template <class Real>
using Edges = Array<Real, -1, -1, -1, 2>;

template <class Real>
void LatticeLosses(const Edges<const Real>& edges, const Lengths& lengths, const Lengths& target_lengths,
                   const Array<double, -1>& losses, const std::optional<Edges<Real>>& gradient, std::size_t threads,
                   const std::optional<std::string>& isa) {
  const std::size_t n = edges.shape(0), frames = edges.shape(1), width = edges.shape(2);
  CheckLengths(lengths, target_lengths, n, frames, width);
  if (losses.size() != n) throw std::invalid_argument("the arrays are not of one batch");
  if (gradient) CheckSameNodes(edges, *gradient);
  const LatticeKernels& kernels = KernelsOf(isa);
  SetThreads(std::min(threads, kMaxThreads));
  const nb::gil_scoped_release release;
  RunTasks(n, [&](std::size_t i) {
    const std::size_t begin = i * frames * width * 2;
    const Lattice<Real> lattice{edges.data() + begin, static_cast<std::size_t>(lengths.data()[i]),
                                static_cast<std::size_t>(target_lengths.data()[i]), width};
    losses.data()[i] = LatticeLoss(lattice, kernels, gradient ? gradient->data() + begin : nullptr);
  });
}

}  // namespace

void BindLattice(nb::module_& module) {
  using nb::arg;
  const auto define = [&](auto function) {
    module.def("lattice_losses", function, arg("edges").noconvert(), arg("lengths").noconvert(),
               arg("target_lengths").noconvert(), arg("losses").noconvert(), arg("gradient").noconvert().none(),
               nb::kw_only(), arg("threads"), arg("isa") = nb::none());
  };
  define(&LatticeLosses<float>);
  define(&LatticeLosses<double>);
}

}  // namespace sparrot
