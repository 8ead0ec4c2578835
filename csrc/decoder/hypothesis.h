// What a decoder believes: tokens, where each was emitted and how sure it is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sparrot {

inline constexpr std::int32_t kBlank = 0;

// What computed a frame, in numbers of the caller's own.
using Level = std::int32_t;

//   frame     output frame of the segment at which the token is emitted
//   log_prob  its highest log-probability along its run of frames in the best alignment
//   level     the level that computed that frame
struct TokenHit {
  std::int32_t id;
  Level level;
  std::int64_t frame;
  double log_prob;
};

// The tokens of a segment and the natural logarithm of their score, bias included.
struct Hypothesis {
  std::vector<TokenHit> tokens;
  double log_prob;
};

// The best first, equals as they were.
inline void SortByScore(std::vector<Hypothesis>& hypotheses) {
  std::stable_sort(
      hypotheses.begin(), hypotheses.end(),
      [](const Hypothesis& a, const Hypothesis& b) { return a.log_prob > b.log_prob; });
}

// What a search stores: nodes of its tree of prefixes, hits of its alignments, bytes of memory.
struct Storage {
  std::size_t prefixes;
  std::size_t hits;
  std::size_t bytes;
};

}  // namespace sparrot
