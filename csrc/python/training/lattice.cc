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

using Losses = Array<double, -1>;

// Writes loss(lattice, where its edges begin, its gradient or null) for every utterance.
template <class Real, class Loss>
void ForLattices(const Edges<const Real>& edges, const Lengths& lengths, const Lengths& target_lengths,
                 const Losses& losses, const std::optional<Edges<Real>>& gradient, std::size_t threads,
                 const Loss& loss) {
  const std::size_t n = edges.shape(0), frames = edges.shape(1), width = edges.shape(2);
  CheckLengths(lengths, target_lengths, n, frames, width);
  if (losses.size() != n) throw std::invalid_argument("the arrays are not of one batch");
  if (gradient) CheckSameNodes(edges, *gradient);
  SetThreads(std::min(threads, kMaxThreads));
  const nb::gil_scoped_release release;
  RunTasks(n, [&](std::size_t i) {
    const std::size_t begin = i * frames * width * 2;
    const Lattice<Real> lattice{edges.data() + begin, static_cast<std::size_t>(lengths.data()[i]),
                                static_cast<std::size_t>(target_lengths.data()[i]), width};
    losses.data()[i] = loss(lattice, begin, gradient ? gradient->data() + begin : nullptr);
  });
}

template <class Real>
void LatticeLosses(const Edges<const Real>& edges, const Lengths& lengths, const Lengths& target_lengths,
                   const Losses& losses, const std::optional<Edges<Real>>& gradient, std::size_t threads,
                   const std::optional<std::string>& isa) {
  const LatticeKernels& kernels = KernelsOf(isa);
  ForLattices<Real>(edges, lengths, target_lengths, losses, gradient, threads,
                    [&](const Lattice<Real>& lattice, std::size_t, Real* to) {
                      return LatticeLoss(lattice, kernels, to);
                    });
}

template <class Real>
void LatticeDivergences(const Edges<const Real>& student, const Edges<const Real>& teacher, const Lengths& lengths,
                        const Lengths& target_lengths, const Losses& divergences,
                        const std::optional<Edges<Real>>& gradient, std::size_t threads,
                        const std::optional<std::string>& isa) {
  CheckSameNodes(student, teacher);
  const LatticeKernels& kernels = KernelsOf(isa);
  ForLattices<Real>(student, lengths, target_lengths, divergences, gradient, threads,
                    [&](const Lattice<Real>& lattice, std::size_t begin, Real* to) {
                      return LatticeDivergence(lattice, teacher.data() + begin, kernels, to);
                    });
}

}  // namespace

void BindLattice(nb::module_& module) {
  using nb::arg;
  const auto define = [&](auto losses, auto divergences) {
    module.def("lattice_losses", losses, arg("edges").noconvert(), arg("lengths").noconvert(),
               arg("target_lengths").noconvert(), arg("losses").noconvert(), arg("gradient").noconvert().none(),
               nb::kw_only(), arg("threads"), arg("isa") = nb::none());
    module.def("lattice_divergences", divergences, arg("student").noconvert(), arg("teacher").noconvert(),
               arg("lengths").noconvert(), arg("target_lengths").noconvert(), arg("divergences").noconvert(),
               arg("gradient").noconvert().none(), nb::kw_only(), arg("threads"), arg("isa") = nb::none());
  };
  define(&LatticeLosses<float>, &LatticeDivergences<float>);
  define(&LatticeLosses<double>, &LatticeDivergences<double>);
}

}  // namespace sparrot
