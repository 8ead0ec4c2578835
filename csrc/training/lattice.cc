#include "training/lattice.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

namespace sparrot {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

// Values at the nodes of one diagonal or more, t + u = d, by u: −1 … labels + 1. The blank of a node leads to the same
// place of the next diagonal, its label one place on, so that a diagonal is computed without order. Where a diagonal has
// no node, there is −∞, or what no existing edge leads to.
class Diagonals {
 public:
  Diagonals(std::size_t n, std::size_t labels) : stride_(labels + 3), values_(n * stride_, kNever) {}
  double* operator[](std::size_t d) { return values_.data() + d * stride_ + 1; }

 private:
  std::size_t stride_;
  std::vector<double> values_;
};

struct Range {
  std::size_t first, last;
  std::size_t size() const { return last + 1 - first; }
};

template <class Real>
Range NodesOf(const Lattice<Real>& lattice, std::size_t d) {
  return {d < lattice.frames ? 0 : d + 1 - lattice.frames, std::min(d, lattice.labels)};
}

template <class Real>
void ReadEdges(const Lattice<Real>& lattice, std::size_t d, double* blank, double* label) {
  const Range nodes = NodesOf(lattice, d);
  for (std::size_t u = nodes.first; u <= nodes.last; ++u) {
    const Real* edges = lattice.edges + 2 * ((d - u) * lattice.width + u);
    blank[u] = edges[0];
    label[u] = u < lattice.labels ? edges[1] : kNever;
  }
}

template <class Real>
void WriteEdges(const Lattice<Real>& lattice, std::size_t d, const double* blank, const double* label, Real* gradient) {
  const Range nodes = NodesOf(lattice, d);
  for (std::size_t u = nodes.first; u <= nodes.last; ++u) {
    Real* to = gradient + 2 * ((d - u) * lattice.width + u);
    to[0] = static_cast<Real>(blank[u]);
    if (u < lattice.labels) to[1] = static_cast<Real>(label[u]);
  }
}

// log α(t, u): all ways from the beginning to a node (Graves 2012, eq. 16). Returns those to the end.
template <class Real>
double GoForward(const Lattice<Real>& lattice, const LatticeKernels& kernels, Diagonals& alpha) {
  Diagonals edges(2, lattice.labels);
  double *const blank = edges[0], *const label = edges[1];
  alpha[0][0] = 0;
  for (std::size_t d = 1; d < lattice.frames + lattice.labels; ++d) {
    const Range nodes = NodesOf(lattice, d);
    ReadEdges(lattice, d - 1, blank, label);
    kernels.advance(alpha[d - 1] + nodes.first, blank + nodes.first, label + nodes.first, alpha[d] + nodes.first,
                    nodes.size());
  }
  const std::size_t last = (lattice.frames - 1) * lattice.width + lattice.labels;
  return alpha[lattice.frames + lattice.labels - 1][lattice.labels] + static_cast<double>(lattice.edges[2 * last]);
}

// With log β(t, u): all ways from a node to the end (eq. 18). An alignment takes an edge with the probability
// α(t, u) p(edge) β(where it leads) / p(text), which is minus the slope of the loss in log p(edge) (eq. 20).
template <class Real>
void GoBack(const Lattice<Real>& lattice, const LatticeKernels& kernels, Diagonals& alpha, double loss,
            Real* gradient) {
  Diagonals edges(2, lattice.labels), beta(2, lattice.labels);
  double *const blank = edges[0], *const label = edges[1];
  double *after = beta[0], *to = beta[1];
  after[lattice.labels] = 0;  // where the blank of the last node leads
  for (std::size_t d = lattice.frames + lattice.labels; d-- > 0;) {
    const auto [first, size] = std::pair(NodesOf(lattice, d).first, NodesOf(lattice, d).size());
    ReadEdges(lattice, d, blank, label);
    kernels.retreat(after + first, blank + first, label + first, to + first, size);
    kernels.occupy(alpha[d] + first, loss, blank + first, size);
    kernels.occupy(alpha[d] + first, loss, label + first, size);
    WriteEdges(lattice, d, blank, label, gradient);
    std::swap(after, to);
  }
}

}  // namespace

template <class Real>
double LatticeLoss(const Lattice<Real>& lattice, const LatticeKernels& kernels, Real* gradient) {
  Diagonals alpha(lattice.frames + lattice.labels, lattice.labels);
  const double loss = -GoForward(lattice, kernels, alpha);
  if (gradient != nullptr) GoBack(lattice, kernels, alpha, loss, gradient);
  return loss;
}

template <class Real>
double LatticeDivergence(const Lattice<Real>& student, const Real* teacher, const LatticeKernels& kernels,
                         Real* gradient) {
  const auto diverge = kernels.nodes<Real>().diverge;
  std::vector<Real> row(2 * student.labels);
  double divergence = 0;
  for (std::size_t t = 0; t < student.frames; ++t) {
    const std::size_t begin = 2 * t * student.width, end = begin + 2 * student.labels;
    Real* const to = gradient == nullptr ? row.data() : gradient + begin;
    divergence += diverge(student.edges + begin, teacher + begin, student.labels, to);
    constexpr auto kNoLabel = static_cast<Real>(kNever);
    const Real q[] = {student.edges[end], kNoLabel}, p[] = {teacher[end], kNoLabel};
    Real last[2];
    divergence += diverge(q, p, 1, last);
    if (gradient != nullptr) gradient[end] = last[0];
  }
  return divergence;
}

template double LatticeLoss(const Lattice<float>&, const LatticeKernels&, float*);
template double LatticeLoss(const Lattice<double>&, const LatticeKernels&, double*);
template double LatticeDivergence(const Lattice<float>&, const float*, const LatticeKernels&, float*);
template double LatticeDivergence(const Lattice<double>&, const double*, const LatticeKernels&, double*);

}  // namespace sparrot
