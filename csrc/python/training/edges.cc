#include "training/edges.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "python/training/batch.h"
#include "python/training/bindings.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

template <class Real>
using Nodes = Array<Real, -1, -1, -1, -1>;
template <class Real>
using Pairs = Array<Real, -1, -1, -1, 2>;
using Targets = Array<const std::int64_t, -1, -1>;

void CheckTargets(const Targets& targets, const Lengths& target_lengths, std::size_t n_tokens) {
  for (std::size_t i = 0; i < target_lengths.size(); ++i) {
    const std::int64_t* text = targets.data() + i * targets.shape(1);
    for (std::int64_t u = 0; u < target_lengths.data()[i]; ++u) {
      if (text[u] >= 1 && text[u] < static_cast<std::int64_t>(n_tokens)) continue;
      throw std::invalid_argument("`targets` of utterance " + std::to_string(i) + " holds " + std::to_string(text[u]) +
                                  " in place " + std::to_string(u) + ": labels are 1 to " +
                                  std::to_string(n_tokens - 1) + ", and 0 is the blank");
    }
  }
}

template <class Real>
NodeBatch<Real> Checked(const Nodes<const Real>& logits, const Targets& targets, const Lengths& lengths,
                        const Lengths& target_lengths) {
  const std::size_t n = logits.shape(0), frames = logits.shape(1), width = logits.shape(2);
  CheckLengths(lengths, target_lengths, n, frames, width);
  if (targets.shape(0) != n || targets.shape(1) + 1 != width || logits.shape(3) == 0) {
    throw std::invalid_argument("the arrays are not of one batch");
  }
  CheckTargets(targets, target_lengths, logits.shape(3));
  return {n, frames, width, logits.shape(3), logits.data(), targets.data(), lengths.data(), target_lengths.data()};
}

template <class Real>
void Forward(const Nodes<const Real>& logits, const Targets& targets, const Lengths& lengths,
             const Lengths& target_lengths, const Pairs<Real>& edges, const Pairs<Real>& normalisers,
             std::size_t threads, const std::optional<std::string>& isa) {
  const NodeBatch<Real> batch = Checked<Real>(logits, targets, lengths, target_lengths);
  CheckSameNodes(logits, edges);
  CheckSameNodes(logits, normalisers);
  const LatticeKernels& kernels = KernelsOf(isa);
  SetThreads(std::min(threads, kMaxThreads));
  const nb::gil_scoped_release release;
  EdgeLogProbs(batch, kernels, edges.data(), reinterpret_cast<Normaliser<Real>*>(normalisers.data()));
}

template <class Real>
void Backward(const Nodes<const Real>& logits, const Targets& targets, const Lengths& lengths,
              const Lengths& target_lengths, const Pairs<const Real>& normalisers, const Pairs<const Real>& slopes,
              const Nodes<Real>& gradient, std::size_t threads, const std::optional<std::string>& isa) {
  const NodeBatch<Real> batch = Checked<Real>(logits, targets, lengths, target_lengths);
  CheckSameNodes(logits, normalisers);
  CheckSameNodes(logits, slopes);
  CheckSameNodes(logits, gradient);
  if (gradient.shape(3) != batch.n_tokens) throw std::invalid_argument("the arrays are not of one batch");
  const LatticeKernels& kernels = KernelsOf(isa);
  SetThreads(std::min(threads, kMaxThreads));
  const nb::gil_scoped_release release;
  DescendEdges(batch, kernels, reinterpret_cast<const Normaliser<Real>*>(normalisers.data()), slopes.data(),
               gradient.data());
}

}  // namespace

void BindEdges(nb::module_& module) {
  using nb::arg;
  const auto define = [&](auto forward, auto backward) {
    module.def("edge_log_probs", forward, arg("logits").noconvert(), arg("targets").noconvert(),
               arg("lengths").noconvert(), arg("target_lengths").noconvert(), arg("edges").noconvert(),
               arg("normalisers").noconvert(), nb::kw_only(), arg("threads"), arg("isa") = nb::none());
    module.def("edge_gradients", backward, arg("logits").noconvert(), arg("targets").noconvert(),
               arg("lengths").noconvert(), arg("target_lengths").noconvert(), arg("normalisers").noconvert(),
               arg("slopes").noconvert(), arg("gradient").noconvert(), nb::kw_only(), arg("threads"),
               arg("isa") = nb::none());
  };
  define(&Forward<float>, &Backward<float>);
  define(&Forward<double>, &Backward<double>);
}

}  // namespace sparrot
