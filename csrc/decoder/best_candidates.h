// What may be kept after a frame, and the best of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "decoder/hypothesis.h"

namespace sparrot {

// The hypothesis of a rank as it stays (kBlank), or what one more token makes of it.
struct Candidate {
  double score;
  std::uint32_t rank;
  std::int32_t token;
};

// Selects the best of the candidates of one frame: at most `beam`, none `margin` below the best,
// none impossible. Of equals the unextended come before the extended, then the one ranked higher
// before the frame, then the lowest token. They must be offered in that order.
class BestCandidates {
 public:
  BestCandidates(std::size_t beam, double margin) : beam_(beam), margin_(margin) {}

  void Clear();

  // Whether a score may still be among the best: quick, to be asked before anything else.
  bool Admits(double score) const { return score > least_ && score >= limit_; }

  void Offer(const Candidate& candidate);

  // The best first; nothing more may be offered. Throws std::invalid_argument, with a sentence, if
  // nothing possible was.
  const std::vector<Candidate>& Sorted();

 private:
  std::size_t beam_;
  double margin_;
  double least_;  // what the next must exceed: −inf until there are `beam`
  double best_;
  double limit_;
  std::vector<Candidate> heap_;  // the worst in front
};

}  // namespace sparrot
