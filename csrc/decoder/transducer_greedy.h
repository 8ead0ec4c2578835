// Transducer search by the best token of every frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "decoder/transducer_search.h"

namespace sparrot {

// The best token of a frame, of equals the lowest; if it is no blank, the best after it at the same
// frame, until that is the blank or `max_symbols` have been emitted there. All tokens are stable:
// what has been said stays said.
class TransducerGreedy final : public TransducerSearch {
 public:
  // Throws std::invalid_argument, with a sentence, if max_symbols is under 1.
  TransducerGreedy(std::shared_ptr<const TransducerModel> model, std::int64_t max_symbols);

  std::int64_t trailing_blanks() const override;
  std::size_t n_tokens() const override { return best_.tokens.size(); }
  std::size_t n_stable() const override { return best_.tokens.size(); }
  std::vector<Hypothesis> Hypotheses() const override { return {best_}; }
  Hypothesis Best() const override { return best_; }
  Storage storage() const override {
    return {0, best_.tokens.size(),
            best_.tokens.capacity() * sizeof(TokenHit) + predictor().bytes()};
  }

 private:
  void Begin(PredictorCache::Entry start) override { predicted_ = start; }
  void Restart() override;
  void ListRows(std::vector<PredictorCache::Entry>& entries) const override {
    entries.assign(1, predicted_);
  }
  bool Step(const Frame& frame) override;

  std::int64_t max_symbols_;
  std::int64_t n_symbols_ = 0;  // emitted at the frame at hand
  Hypothesis best_{{}, 0.0};
  PredictorCache::Entry predicted_ = 0;
};

}  // namespace sparrot
