// CTC by the best token of every frame.
#pragma once

#include <cstddef>
#include <vector>

#include "decoder/ctc_decoder.h"

namespace sparrot {

// Repeats and blanks collapse (Graves et al. 2006, sec. 3.2). A token's frame is the first of its
// run. All tokens are stable: what has been said stays said. Ties go to the lowest token. The score
// is that of the best alignment.
class GreedyDecoder final : public CtcDecoder {
 public:
  std::size_t n_tokens() const override { return best_.tokens.size(); }
  std::size_t n_stable() const override { return best_.tokens.size(); }
  std::vector<Hypothesis> Hypotheses() const override { return {best_}; }
  std::vector<Hypothesis> Finals() const override { return {best_}; }
  Hypothesis Best() const override { return best_; }
  Storage storage() const override {
    return {0, best_.tokens.size(), best_.tokens.capacity() * sizeof(TokenHit)};
  }

 private:
  void Step(const Frame& frame) override;
  void Restart() override;

  Hypothesis best_{{}, 0.0};
  std::int32_t last_ = kBlank;  // best token of the frame before
};

}  // namespace sparrot
