// Transducer beam search with at most one token a frame (k2's and icefall's modified beam search).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "decoder/best_candidates.h"
#include "decoder/bias.h"
#include "decoder/hit_lists.h"
#include "decoder/prefix_tree.h"
#include "decoder/transducer_search.h"

namespace sparrot {

//   beam           hypotheses kept after a frame; 1 is greedy search
//   margin         hypotheses this far (log) below the best are given up
//   settle_frames  so are those that part from the best more than this many frames back
struct TransducerBeamOptions {
  std::int64_t beam = 8;
  double margin = 10.0;
  std::int64_t settle_frames = 50;
};

// The most probable token sequences, each summed over the alignments that the search has seen. With
// y(l, t) the token probabilities after the sequence l at frame t,
//
//     p'(l)  = p(l) y(l, t)[blank] + what grows into it
//     p'(lc) = p(l) y(l, t)[c]
//
// They are ranked by p exp(bias), their bias being a function of their tokens.
//
// Departs from icefall in two points: hypotheses with equal tokens are merged before the best are
// chosen, not after, so that a full beam of different ones is left; and the best is that of the
// highest score, not divided by its length.
//
// If alignments meet in a hypothesis, the first of them has computed its predictor state. A token's
// frame is where the most probable alignment has it.
class TransducerBeam final : public TransducerSearch {
 public:
  // Throws std::invalid_argument, with a sentence, if an option is out of its range. `bias` may be
  // null.
  TransducerBeam(std::shared_ptr<const TransducerModel> model, const TransducerBeamOptions& options,
                 std::shared_ptr<const Bias> bias);

  std::int64_t trailing_blanks() const override;
  std::size_t n_tokens() const override {
    return kept_.empty() ? 0 : tree_.Depth(kept_.front().prefix);
  }
  std::size_t n_stable() const override;
  std::vector<Hypothesis> Hypotheses() const override;
  Hypothesis Best() const override;
  std::vector<Hypothesis> Finals() const override;
  Storage storage() const override {
    return {tree_.size(), hits_.size(), tree_.bytes() + hits_.bytes() + predictor().bytes()};
  }

 private:
  // total: log-probability of all its alignments seen; best: that of the most probable, at `hits`.
  struct Sequence {
    PrefixTree::Prefix prefix;
    double total, best;
    HitLists::List hits;
    PredictorCache::Entry predicted;
    BiasScorer::State bias;
  };

  // What a sequence becomes at a frame that adds no token; `grown_from` as in PrefixBeamDecoder.
  struct Stay {
    double total, best;
    std::uint32_t grown_from;
  };

  void Begin(PredictorCache::Entry start) override;
  void Restart() override;
  void ListRows(std::vector<PredictorCache::Entry>& entries) const override;
  bool Step(const Frame& frame) override;

  void MeetOrStay(const Frame& frame);
  void OfferGrown(const Frame& frame);
  Sequence Made(const Candidate& candidate, const Frame& frame);
  void AdvanceBias();
  void Keep(const Frame& frame);
  void PredictGrown(Level level);
  void Release(const Sequence& sequence);
  double BiasOf(const Sequence& sequence) const {
    return bias_ ? bias_->Score(sequence.bias) : 0.0;
  }
  Hypothesis Shown(const Sequence& sequence) const;

  TransducerBeamOptions options_;
  std::optional<BiasScorer> bias_;
  PrefixTree tree_;
  HitLists hits_;
  std::vector<Sequence> kept_;  // the best first; empty before a segment's first frame

  // Of the frame at hand; kept to be filled again. One row a kept sequence.
  BestCandidates best_;
  std::vector<Stay> stays_;
  std::vector<Sequence> next_, before_;
  std::vector<Candidate> made_of_;  // of each of `next_`
  std::vector<BiasScorer::Step> steps_;
};

}  // namespace sparrot
