// Transducer search by the best token of every frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "decoder/bias.h"
#include "decoder/transducer_search.h"

namespace sparrot {

// The best token of a frame, of equals the lowest; if it is no blank, the best after it at the same
// frame, until that is the blank or `max_symbols` have been emitted there. All tokens are stable:
// what has been said stays said.
//
// With a bias the best is that of the highest log-probability and what the token adds to the bias,
// if it adds: what is lent and not kept is taken from the score, but it makes no token less likely,
// for there is no hypothesis without the loan to turn to.
class TransducerGreedy final : public TransducerSearch {
 public:
  // Throws std::invalid_argument, with a sentence, if max_symbols is under 1. `bias` may be null.
  TransducerGreedy(std::shared_ptr<const TransducerModel> model, std::int64_t max_symbols,
                   std::shared_ptr<const Bias> bias);

  std::int64_t trailing_blanks() const override;
  std::size_t n_tokens() const override { return best_.tokens.size(); }
  std::size_t n_stable() const override { return best_.tokens.size(); }
  std::vector<Hypothesis> Hypotheses() const override { return {Best()}; }
  Hypothesis Best() const override;
  std::vector<Hypothesis> Finals() const override;
  Storage storage() const override {
    return {0, best_.tokens.size(),
            best_.tokens.capacity() * sizeof(TokenHit) + predictor().bytes()};
  }

 private:
  void Begin(PredictorCache::Entry start) override;
  void Restart() override;
  void ListRows(std::vector<PredictorCache::Entry>& entries) const override {
    entries.assign(1, predicted_);
  }
  bool Step(const Frame& frame) override;
  std::int32_t BestToken(const Frame& frame) const;

  std::int64_t max_symbols_;
  std::optional<BiasScorer> bias_;
  std::int64_t n_symbols_ = 0;  // emitted at the frame at hand
  Hypothesis best_{{}, 0.0};  // without the bias
  BiasScorer::State state_{};
  PredictorCache::Entry predicted_ = 0;
};

}  // namespace sparrot
