// The lattice of a recurrent neural network transducer (Graves 2012, arXiv:1211.3711, sec. 2.4).
#pragma once

#include <cstddef>

#include "training/lattice_kernels.h"

namespace sparrot {

// The lattice of one utterance. At node (t, u), t of its frames are over and u of its labels are out; the blank leads
// to (t + 1, u), the next label to (t, u + 1). Alignments begin at (0, 0) and end with the blank of the last frame
// at u = labels.
//
//   edges  [frames][width][2]  log-probabilities of the blank and of the label; of a row, the first labels + 1
//                              nodes count, and the label of the last of them does not
template <class Real>
struct Lattice {
  const Real* edges;
  std::size_t frames;  // at least 1
  std::size_t labels;
  std::size_t width;  // nodes of a row in memory: labels + 1 or more
};

// −log Σ over all alignments of the product of their probabilities, summed in double.
//
// gradient: null, or [frames][width][2] like the edges: minus the probability that an alignment takes the edge.
// Only edges that count are written. NaN if no alignment is possible, for the loss is infinite then.
template <class Real>
double LatticeLoss(const Lattice<Real>& lattice, const LatticeKernels& kernels, Real* gradient);

// Σ over all nodes of KL(teacher ‖ student) over {blank, label, rest}, and over {blank, rest} where all labels are
// out (Panchapagesan et al. 2021, arXiv:2011.06110); see NodeKernels. The teacher's edges lie like the student's.
//
// gradient: null, or [frames][width][2] in the student's edges; only those that exist are written.
template <class Real>
double LatticeDivergence(const Lattice<Real>& student, const Real* teacher, const LatticeKernels& kernels,
                         Real* gradient);

extern template double LatticeLoss(const Lattice<float>&, const LatticeKernels&, float*);
extern template double LatticeLoss(const Lattice<double>&, const LatticeKernels&, double*);
extern template double LatticeDivergence(const Lattice<float>&, const float*, const LatticeKernels&, float*);
extern template double LatticeDivergence(const Lattice<double>&, const double*, const LatticeKernels&, double*);

}  // namespace sparrot
