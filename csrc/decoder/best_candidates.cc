#include "decoder/best_candidates.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <tuple>

namespace sparrot {
namespace {

constexpr double kImpossible = -std::numeric_limits<double>::infinity();

bool Better(const Candidate& a, const Candidate& b) {
  if (a.score != b.score) return a.score > b.score;
  return std::tuple(a.token != kBlank, a.rank, a.token) <
         std::tuple(b.token != kBlank, b.rank, b.token);
}

}  // namespace

void BestCandidates::Clear() {
  least_ = best_ = limit_ = kImpossible;
  heap_.clear();
}

void BestCandidates::Offer(const Candidate& candidate) {
  if (!Admits(candidate.score)) return;
  if (candidate.score > best_) {
    best_ = candidate.score;
    limit_ = best_ - margin_;
  }
  if (heap_.size() == beam_) {
    std::pop_heap(heap_.begin(), heap_.end(), Better);
    heap_.back() = candidate;
  } else {
    heap_.push_back(candidate);
  }
  std::push_heap(heap_.begin(), heap_.end(), Better);
  if (heap_.size() == beam_) least_ = heap_.front().score;
}

const std::vector<Candidate>& BestCandidates::Sorted() {
  if (heap_.empty()) throw std::invalid_argument("no hypothesis is possible any more at a frame");
  std::sort_heap(heap_.begin(), heap_.end(), Better);
  while (heap_.back().score < limit_) heap_.pop_back();
  return heap_;
}

}  // namespace sparrot
