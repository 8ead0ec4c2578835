// The edges of transducer lattices, from the logits of their nodes, and back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "training/lattice_kernels.h"

namespace sparrot {

// Lattices of a batch, padded to the largest: node (t, u) of utterance i is in it where t < lengths[i] and
// u ≤ target_lengths[i].
//
//   logits   [n][frames][width][n_tokens]; token 0 is the blank
//   targets  [n][width - 1], of which target_lengths[i] count
template <class Real>
struct NodeBatch {
  std::size_t n, frames, width, n_tokens;
  const Real* logits;
  const std::int64_t *targets, *lengths, *target_lengths;
};

// edges [n][frames][width][2]: log-probabilities of the blank and of the next label at each node, −∞ where there is
// no such edge: at nodes outside, and for the label of a node that has all labels behind it.
//
// normalisers [n][frames][width]: written for nodes inside; DescendEdges reads them.
template <class Real>
void EdgeLogProbs(const NodeBatch<Real>& batch, const LatticeKernels& kernels, Real* edges,
                  Normaliser<Real>* normalisers);

// gradient [n][frames][width][n_tokens] with respect to the logits, from that with respect to the edges that exist;
// others are not read. Zero outside.
//
//     gradient[k] = Σ_j slopes[j] (δ_{k, token of edge j} − softmax(logits)[k])
template <class Real>
void DescendEdges(const NodeBatch<Real>& batch, const LatticeKernels& kernels, const Normaliser<Real>* normalisers,
                  const Real* slopes, Real* gradient);

extern template void EdgeLogProbs(const NodeBatch<float>&, const LatticeKernels&, float*, Normaliser<float>*);
extern template void EdgeLogProbs(const NodeBatch<double>&, const LatticeKernels&, double*, Normaliser<double>*);
extern template void DescendEdges(const NodeBatch<float>&, const LatticeKernels&, const Normaliser<float>*,
                                  const float*, float*);
extern template void DescendEdges(const NodeBatch<double>&, const LatticeKernels&, const Normaliser<double>*,
                                  const double*, double*);

}  // namespace sparrot
