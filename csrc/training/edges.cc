#include "training/edges.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "network/threads.h"

namespace sparrot {
namespace {

// The nodes of one frame of one utterance: where they begin in a batch, and how many are inside.
struct Row {
  std::size_t utterance, begin, inside;
};

// Calls work(row) for every row of the batch; threads share them, many at a time where they are short.
template <class Real, class Work>
void ForRows(const NodeBatch<Real>& batch, const Work& work) {
  constexpr std::size_t kLogits = 1 << 15;  // of a task, at least
  const std::size_t rows = batch.n * batch.frames;
  const std::size_t at_once = std::max<std::size_t>(1, kLogits / (batch.width * batch.n_tokens));
  RunTasks((rows + at_once - 1) / at_once, [&](std::size_t task) {
    const std::size_t last = std::min(rows, (task + 1) * at_once);
    for (std::size_t row = task * at_once; row < last; ++row) {
      const std::size_t i = row / batch.frames, t = row % batch.frames;
      const bool is_inside = t < static_cast<std::size_t>(batch.lengths[i]);
      work(Row{i, row * batch.width, is_inside ? static_cast<std::size_t>(batch.target_lengths[i]) + 1 : 0});
    }
  });
}

}  // namespace

template <class Real>
void EdgeLogProbs(const NodeBatch<Real>& batch, const LatticeKernels& kernels, Real* edges,
                  Normaliser<Real>* normalisers) {
  constexpr Real kNever = -std::numeric_limits<Real>::infinity();
  ForRows(batch, [&](const Row& row) {
    const Real* logits = batch.logits + row.begin * batch.n_tokens;
    const std::int64_t* targets = batch.targets + row.utterance * (batch.width - 1);
    Real* to = edges + 2 * row.begin;
    std::vector<Real> log_sums(row.inside);
    kernels.nodes<Real>().normalise(logits, row.inside, batch.n_tokens, normalisers + row.begin, log_sums.data());
    for (std::size_t u = 0; u < row.inside; ++u) {
      const Real *node = logits + u * batch.n_tokens, largest = normalisers[row.begin + u].largest;
      to[2 * u] = node[0] - largest - log_sums[u];
      to[2 * u + 1] = u + 1 < row.inside ? node[targets[u]] - largest - log_sums[u] : kNever;
    }
    std::fill(to + 2 * row.inside, to + 2 * batch.width, kNever);
  });
}

template <class Real>
void DescendEdges(const NodeBatch<Real>& batch, const LatticeKernels& kernels, const Normaliser<Real>* normalisers,
                  const Real* slopes, Real* gradient) {
  ForRows(batch, [&](const Row& row) {
    const std::int64_t* targets = batch.targets + row.utterance * (batch.width - 1);
    for (std::size_t u = 0; u < row.inside; ++u) {
      const std::size_t node = row.begin + u;
      const bool has_label = u + 1 < row.inside;
      const Real blank = slopes[2 * node], label = has_label ? slopes[2 * node + 1] : 0;
      Real* to = gradient + node * batch.n_tokens;
      kernels.nodes<Real>().descend(batch.logits + node * batch.n_tokens, batch.n_tokens, normalisers[node],
                                    blank + label, to);
      to[0] += blank;
      if (has_label) to[targets[u]] += label;
    }
    Real* const row_end = gradient + (row.begin + batch.width) * batch.n_tokens;
    std::fill(gradient + (row.begin + row.inside) * batch.n_tokens, row_end, Real{0});
  });
}

template void EdgeLogProbs(const NodeBatch<float>&, const LatticeKernels&, float*, Normaliser<float>*);
template void EdgeLogProbs(const NodeBatch<double>&, const LatticeKernels&, double*, Normaliser<double>*);
template void DescendEdges(const NodeBatch<float>&, const LatticeKernels&, const Normaliser<float>*, const float*,
                           float*);
template void DescendEdges(const NodeBatch<double>&, const LatticeKernels&, const Normaliser<double>*,
                           const double*, double*);

}  // namespace sparrot
