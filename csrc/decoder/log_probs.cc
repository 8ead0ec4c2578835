#include "decoder/log_probs.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>

namespace sparrot {

void LogSoftmax(std::span<const float> logits, std::span<double> log_probs) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (std::size_t k = 0; k < logits.size(); ++k) {
    log_probs[k] = static_cast<double>(logits[k]) - max;
    sum += std::exp(log_probs[k]);
  }
  const double log_sum = std::log(sum);
  for (double& log_prob : log_probs) log_prob -= log_sum;
}

double LogAdd(double a, double b) {
  const double low = a < b ? a : b;
  const double high = a < b ? b : a;
  if (low == -std::numeric_limits<double>::infinity()) return high;
  return high + std::log1p(std::exp(low - high));
}

void CheckLogits(std::span<const float> logits) {
  if (!std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); })) {
    throw std::invalid_argument(
        "the network's output is not finite: its weights or the features are out of range");
  }
}

void CheckBlankPenalty(double penalty) {
  if (!std::isfinite(penalty)) {
    throw std::invalid_argument("a decoder takes a finite blank penalty; got a NaN or infinity");
  }
}

}  // namespace sparrot
