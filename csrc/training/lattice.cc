#include "training/lattice.h"

#include <cmath>
#include <limits>
#include <vector>

namespace sparrot {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

double LogAdd(double a, double b) {
  const double low = a < b ? a : b, high = a < b ? b : a;
  return low == kNever ? high : high + std::log1p(std::exp(low - high));
}

// log α(t, u): all ways from the beginning to each node, [frames][labels + 1] (Graves 2012, eq. 16).
template <class Real>
std::vector<double> Forward(const Lattice<Real>& lattice) {
  const std::size_t nodes = lattice.labels + 1;
  std::vector<double> alpha(lattice.frames * nodes, kNever);
  alpha[0] = 0;
  for (std::size_t t = 0; t < lattice.frames; ++t) {
    for (std::size_t u = 0; u < nodes; ++u) {
      double& to = alpha[t * nodes + u];
      if (t > 0) to = alpha[(t - 1) * nodes + u] + lattice.edges[2 * ((t - 1) * lattice.width + u)];
      if (u > 0) to = LogAdd(to, alpha[t * nodes + u - 1] + lattice.edges[2 * (t * lattice.width + u - 1) + 1]);
    }
  }
  return alpha;
}

// Goes back through the lattice with β(t, u), all ways from each node to the end (eq. 18), one row at a time. An edge
// has the probability α(before) · p(edge) · β(after) / p(text).
template <class Real>
void Occupy(const Lattice<Real>& lattice, const std::vector<double>& alpha, double loss, Real* gradient) {
  const std::size_t nodes = lattice.labels + 1;
  std::vector<double> beta(nodes, kNever);  // of the row below, then of this one
  for (std::size_t t = lattice.frames; t-- > 0;) {
    for (std::size_t u = nodes; u-- > 0;) {
      const Real* edges = lattice.edges + 2 * (t * lattice.width + u);
      Real* to = gradient + 2 * (t * lattice.width + u);
      const double before = alpha[t * nodes + u] + loss;
      const bool is_last = u + 1 == nodes;
      const double below = t + 1 == lattice.frames ? (is_last ? 0 : kNever) : beta[u];
      const double by_blank = below + edges[0];
      const double by_label = is_last ? kNever : beta[u + 1] + edges[1];
      to[0] = static_cast<Real>(-std::exp(before + by_blank));
      if (!is_last) to[1] = static_cast<Real>(-std::exp(before + by_label));
      beta[u] = LogAdd(by_blank, by_label);
    }
  }
}

}  // namespace

template <class Real>
double LatticeLoss(const Lattice<Real>& lattice, Real* gradient) {
  const std::vector<double> alpha = Forward(lattice);
  const std::size_t last = (lattice.frames - 1) * lattice.width + lattice.labels;
  const double loss = -(alpha.back() + lattice.edges[2 * last]);
  if (gradient != nullptr) Occupy(lattice, alpha, loss, gradient);
  return loss;
}

template double LatticeLoss(const Lattice<float>&, float*);
template double LatticeLoss(const Lattice<double>&, double*);

}  // namespace sparrot
