// CTC prefix beam search (Graves 2012, sec. 7.5.3; Hannun et al. 2014, arXiv 1408.2873, alg. 1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "decoder/best_candidates.h"
#include "decoder/bias.h"
#include "decoder/ctc_decoder.h"
#include "decoder/hit_lists.h"
#include "decoder/prefix_tree.h"

namespace sparrot {

//   beam           labellings kept after a frame
//   token_floor    labellings grow by the frame's best token and by those this likely (log)
//   margin         labellings this far (log) below the best are given up
//   settle_frames  so are those that part from the best more than this many frames back
struct PrefixBeamOptions {
  std::int64_t beam = 8;
  double token_floor = -7.0;
  double margin = 10.0;
  std::int64_t settle_frames = 50;
};

// The most probable labellings, each summed over its alignments.
//
// A labelling l is kept with p_b(l) and p_n(l), the probabilities of its alignments so far that end
// in a blank and in its last token e. A frame with token probabilities y turns them into
//
//     p_b'(l)  = (p_b(l) + p_n(l)) y[blank]
//     p_n'(l)  = p_n(l) y[e] + what grows into it
//     p_n'(lc) = (p_b(l) + p_n(l)) y[c],   for c = e only p_b(l) y[c]
//
// Labellings are ranked by (p_b + p_n) exp(bias), their bias being a function of their tokens.
//
// A token's frame is that of its highest probability along its run, the first of equals, in the
// labelling's most probable alignment. Memory grows by the tokens alone: labellings share theirs.
class PrefixBeamDecoder final : public CtcDecoder {
 public:
  // Throws std::invalid_argument, with a sentence, if the beam is under 1, the margin or the frames
  // to settle are negative, or one of them or the floor is NaN. `bias` may be null.
  PrefixBeamDecoder(const PrefixBeamOptions& options, std::shared_ptr<const Bias> bias);

  std::size_t n_tokens() const override { return tree_.Depth(kept_.front().prefix); }

  // Tokens shared by all live hypotheses; it never falls.
  std::size_t n_stable() const override;

  std::vector<Hypothesis> Hypotheses() const override;
  std::vector<Hypothesis> Finals() const override;
  Hypothesis Best() const override;
  Storage storage() const override {
    return {tree_.size(), hits_.size(), tree_.bytes() + hits_.bytes()};
  }

 private:
  static constexpr double kImpossible = -std::numeric_limits<double>::infinity();

  // The most probable alignment of one kind.
  struct Path {
    double log_prob = kImpossible;
    HitLists::List hits = HitLists::kEmpty;
  };

  // `total` is the log-probability of all alignments; see the class for the others.
  struct Labelling {
    PrefixTree::Prefix prefix;
    double p_blank, p_token, total;
    Path to_blank, to_token;
    BiasScorer::State bias;

    const Path& best() const {
      return to_blank.log_prob >= to_token.log_prob ? to_blank : to_token;
    }
  };

  // What a labelling becomes at a frame that adds no token; its hits are listed once it is chosen.
  //   to_blank, to_token  log-probabilities of its most probable alignments
  //   grown_from          rank of the labelling from which the latter comes, if not from its own
  struct Stay {
    double p_blank, p_token, total;
    double to_blank, to_token;
    std::uint32_t grown_from;
  };

  void Step(const Frame& frame) override;
  void Restart() override;

  void FindWorthwhile(const Frame& frame);
  void Repeat(const Frame& frame);
  void Join(const Frame& frame);
  void OfferGrown(const Frame& frame);
  void AdvanceBias(const std::vector<Candidate>& made_of);
  void KeepSettled(std::vector<Labelling>& likely, std::int64_t number);

  double BiasOf(const Labelling& labelling) const {
    return bias_ ? bias_->Score(labelling.bias) : 0.0;
  }
  double GrownProb(const Labelling& shorter, std::int32_t token, const Frame& frame) const;
  const Path& PathBefore(const Labelling& shorter, std::int32_t token) const;

  Labelling Stayed(std::uint32_t rank, const Frame& frame);
  Labelling Grown(const Candidate& candidate, const Frame& frame);
  HitLists::List Repeated(HitLists::List hits, const Frame& frame);
  void Release(const Labelling& labelling);

  PrefixBeamOptions options_;
  std::optional<BiasScorer> bias_;
  PrefixTree tree_;
  HitLists hits_;
  std::vector<Labelling> kept_;  // the best first

  // Of the frame at hand; kept to be filled again.
  BestCandidates best_;
  double floor_ = 0.0;
  std::vector<std::int32_t> worthwhile_;  // tokens by which labellings may grow, rising
  std::vector<Stay> stays_;               // one a kept labelling
  std::vector<Labelling> next_;
  std::vector<BiasScorer::Step> steps_;
};

}  // namespace sparrot
