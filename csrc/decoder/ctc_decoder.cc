#include "decoder/ctc_decoder.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "decoder/log_probs.h"

namespace sparrot {
namespace {

// NaN is what no comparison holds for, so a maximum alone would not show it.
bool HasFiniteBest(std::span<const double> row) {
  const bool has_nan = std::any_of(row.begin(), row.end(), [](double x) { return std::isnan(x); });
  return !has_nan && std::isfinite(*std::max_element(row.begin(), row.end()));
}

}  // namespace

void CtcDecoder::Accept(const Rows<const double>& log_probs, Level level, double blank_penalty) {
  CheckBlankPenalty(blank_penalty);
  CheckWidth(log_probs.width);
  for (std::size_t i = 0; i < log_probs.n; ++i) {
    if (!HasFiniteBest(log_probs[i])) {
      throw std::invalid_argument(
          "a frame's log-probabilities hold a NaN, or no token is possible at all");
    }
  }
  for (std::size_t i = 0; i < log_probs.n; ++i) {
    row_.assign(log_probs[i].begin(), log_probs[i].end());
    GoOn(level, blank_penalty);
  }
}

void CtcDecoder::AcceptLogits(const Rows<const float>& logits, Level level, double blank_penalty) {
  CheckBlankPenalty(blank_penalty);
  CheckWidth(logits.width);
  CheckLogits(logits.All());
  for (std::size_t i = 0; i < logits.n; ++i) {
    row_.resize(logits.width);
    LogSoftmax(logits[i], row_);
    GoOn(level, blank_penalty);
  }
}

void CtcDecoder::Reset() {
  row_.clear();
  n_frames_ = 0;
  trailing_blanks_ = 0;
  Restart();
}

void CtcDecoder::CheckWidth(std::size_t width) {
  if (width < 2) {
    throw std::invalid_argument(
        "a decoder takes log-probabilities of the blank and at least one more token; got " +
        std::to_string(width) + " a frame");
  }
  if (!row_.empty() && row_.size() != width) {
    throw std::invalid_argument("the frames of a segment have equally many tokens; got " +
                                std::to_string(width) + " after " + std::to_string(row_.size()));
  }
}

void CtcDecoder::GoOn(Level level, double blank_penalty) {
  row_[kBlank] -= blank_penalty;
  const auto best =
      static_cast<std::int32_t>(std::max_element(row_.begin(), row_.end()) - row_.begin());
  Step({row_, best, n_frames_, level});
  trailing_blanks_ = best == kBlank ? trailing_blanks_ + 1 : 0;
  ++n_frames_;
}

}  // namespace sparrot
