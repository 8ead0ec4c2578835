// Log-probabilities of tokens, in double and in an order that is the same on every machine.
#pragma once

#include <span>

namespace sparrot {

// Natural log-probabilities of one frame's logits, which must be finite; spans of equal size.
//
//     log p[k] = (x[k] − m) − log Σ_j exp(x[j] − m),   m = max x, the sum from the first token on
//
// Error: at most (n + 2 + 3 log n + 2 |log p[k]|) u with u = 2^-53, n tokens, and exp and log
// within 1 unit in the last place.
void LogSoftmax(std::span<const float> logits, std::span<double> log_probs);

// log(exp a + exp b), also where one of them is −inf.
double LogAdd(double a, double b);

// Throws std::invalid_argument, with a sentence, if a logit is NaN or infinite.
void CheckLogits(std::span<const float> logits);

// Throws std::invalid_argument, with a sentence, if a penalty of the blank is NaN or infinite.
void CheckBlankPenalty(double penalty);

}  // namespace sparrot
