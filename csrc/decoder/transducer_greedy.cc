#include "decoder/transducer_greedy.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>
#include <utility>

namespace sparrot {
namespace {

constexpr std::size_t kIdle = 0;  // what is said is not taken back, so no state is needed again

std::int64_t Checked(std::int64_t max_symbols) {
  if (max_symbols < 1) {
    throw std::invalid_argument("a frame may emit at least 1 token; got max_symbols of " +
                                std::to_string(max_symbols));
  }
  return max_symbols;
}

}  // namespace

TransducerGreedy::TransducerGreedy(std::shared_ptr<const TransducerModel> model,
                                   std::int64_t max_symbols, std::shared_ptr<const Bias> bias)
    : TransducerSearch(std::move(model), kIdle), max_symbols_(Checked(max_symbols)) {
  if (bias == nullptr) return;
  bias_.emplace(std::move(bias));
  bias_->CheckTokens(vocabulary());
}

Hypothesis TransducerGreedy::Best() const {
  return {best_.tokens, best_.log_prob + (bias_ ? bias_->Score(state_) : 0.0)};
}

std::vector<Hypothesis> TransducerGreedy::Finals() const {
  return {{best_.tokens, best_.log_prob + (bias_ ? bias_->ScoreAtEnd(state_) : 0.0)}};
}

void TransducerGreedy::Begin(PredictorCache::Entry start) {
  predicted_ = start;
  if (bias_) state_ = bias_->Start();
}

std::int64_t TransducerGreedy::trailing_blanks() const {
  return best_.tokens.empty() ? n_frames() : n_frames() - 1 - best_.tokens.back().frame;
}

void TransducerGreedy::Restart() {
  best_ = {{}, 0.0};
  n_symbols_ = 0;
}

bool TransducerGreedy::Step(const Frame& frame) {
  const std::int32_t token = BestToken(frame);
  best_.log_prob += frame(0, token);
  if (token != kBlank) {
    best_.tokens.push_back(frame.Hit(0, token));
    const PredictorCache::Entry before = predicted_;
    predicted_ = predictor().Hold(frame.level, {before, token});
    predictor().Release(before);
    if (bias_) bias_->Advance(std::array{BiasScorer::Step{&state_, token}});
    if (++n_symbols_ < max_symbols_) return false;
  }
  n_symbols_ = 0;
  return true;
}

std::int32_t TransducerGreedy::BestToken(const Frame& frame) const {
  const auto row = frame.log_probs[0];
  if (!bias_) return static_cast<std::int32_t>(std::ranges::max_element(row) - row.begin());
  const double before = bias_->Score(state_), most = bias_->MostWith(state_) - before;
  std::int32_t best = kBlank;
  double highest = row[kBlank];
  for (std::int32_t token = kBlank + 1; token < static_cast<std::int32_t>(row.size()); ++token) {
    const double log_prob = frame(0, token);
    if (log_prob + most <= highest) continue;
    const double score = log_prob + std::max(bias_->ScoreWith(state_, token) - before, 0.0);
    if (score > highest) {
      highest = score;
      best = token;
    }
  }
  return best;
}

}  // namespace sparrot
