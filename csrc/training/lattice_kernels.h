// What the transducer's loss computes with: one table of functions an instruction set.
#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace sparrot {

// The largest of a node's logits, and Σ_k exp(logit_k − largest).
template <class Real>
struct Normaliser {
  Real largest, sum;
};

// What is computed node by node.
template <class Real>
struct NodeKernels {
  // normalisers [nodes] of logits [nodes][n_tokens], and the logarithms of their sums, log_sums [nodes]. The sum is
  // NaN where a logit is, or where the largest of them is infinite.
  void (*normalise)(const Real* logits, std::size_t nodes, std::size_t n_tokens, Normaliser<Real>* normalisers,
                    Real* log_sums);

  // to[k] = −total · softmax(logits)[k] of one node; zeros, and nothing is read, where total is zero.
  void (*descend)(const Real* logits, std::size_t n_tokens, const Normaliser<Real>& normaliser, Real total, Real* to);

  // Σ over the nodes of KL(teacher ‖ student) over {blank, label, rest}, from log-probabilities [nodes][2] of the first
  // two; and its gradient [nodes][2] in those of the student. A rest is at least what follows 1, less 1.
  //
  //   Σ_k p_k (log p_k − log q_k),   gradient[j] = q_j p_rest / q_rest − p_j
  double (*diverge)(const Real* student, const Real* teacher, std::size_t nodes, Real* gradient);
};

struct LatticeKernels {
  std::string_view name;
  NodeKernels<float> float32;
  NodeKernels<double> float64;

  // to[i] = log(exp(before[i] + blank[i]) + exp(before[i − 1] + label[i − 1]))   for i < n
  void (*advance)(const double* before, const double* blank, const double* label, double* to, std::size_t n);

  // blank[i] += after[i], label[i] += after[i + 1], to[i] = log(exp blank[i] + exp label[i])   for i < n
  void (*retreat)(const double* after, double* blank, double* label, double* to, std::size_t n);

  // edge[i] = −exp(before[i] + edge[i] + loss)   for i < n
  void (*occupy)(const double* before, double loss, double* edge, std::size_t n);

  template <class Real>
  const NodeKernels<Real>& nodes() const {
    if constexpr (std::is_same_v<Real, float>) return float32;
    else return float64;
  }
};

extern const LatticeKernels kBaselineLatticeKernels;
#if defined(__x86_64__)
extern const LatticeKernels kAvx2LatticeKernels;
extern const LatticeKernels kAvx512LatticeKernels;
#endif

// The table for an instruction set as kernels.h names it.
const LatticeKernels& LatticeKernelsFor(std::string_view isa);

}  // namespace sparrot
