// Transducer beam search with at most one token a frame (k2's and icefall's modified beam search).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "decoder/best_candidates.h"
#include "decoder/hit_lists.h"
#include "decoder/hypothesis.h"
#include "decoder/predictor_cache.h"
#include "decoder/prefix_tree.h"
#include "decoder/rows.h"
#include "decoder/transducer.h"

namespace sparrot {

//   beam           hypotheses kept after a frame; 1 is greedy search
//   margin         hypotheses this far (log) below the best are given up
//   settle_frames  so are those that part from the best more than this many frames back
struct TransducerOptions {
  std::int64_t beam = 4;
  double margin = 10.0;
  std::int64_t settle_frames = 50;
};

// The most probable token sequences, each summed over the alignments that the search has seen. With
// y(l, t) the token probabilities after the sequence l at frame t,
//
//     p'(l)  = p(l) y(l, t)[blank] + what grows into it
//     p'(lc) = p(l) y(l, t)[c]
//
// Departs from icefall in two points: hypotheses with equal tokens are merged before the best are
// chosen, not after, so that a full beam of different ones is left; and the best is that of the
// highest score, not divided by its length.
//
// A hypothesis has one predictor state, computed at the level of the frame at which its last token
// was tried: the first time, if alignments meet in it. A token's frame is where the most probable
// alignment has it. Takes a segment in pieces and decodes it alike however it is cut. One thread at
// a time.
class TransducerDecoder {
 public:
  // Throws std::invalid_argument, with a sentence, if an option is out of its range.
  TransducerDecoder(std::shared_ptr<const TransducerModel> model, const TransducerOptions& options);

  // Goes on by encoder frames [n][sizes.encoder] computed at one level. The penalty is subtracted
  // from the log-probability of the blank.
  //
  // Throws std::invalid_argument, with a sentence, if frames have another width or the penalty is
  // not finite, before the first frame; if the joint network's output is not finite, at that frame.
  void Accept(const Rows<const float>& frames, Level level, double blank_penalty);

  // Starts a new segment at output frame 0.
  void Reset();

  std::int64_t n_frames() const { return n_frames_; }

  // Frames at the end at which the best hypothesis emits nothing.
  std::int64_t trailing_blanks() const;

  // Tokens of the best hypothesis, and how many of them later frames cannot change.
  std::size_t n_tokens() const { return kept_.empty() ? 0 : tree_.Depth(kept_.front().prefix); }
  std::size_t n_stable() const;

  // The most probable first; there is always one.
  std::vector<Hypothesis> Hypotheses() const;
  Hypothesis Best() const { return Hypotheses().front(); }

  Storage storage() const {
    return {tree_.size(), hits_.size(), tree_.bytes() + hits_.bytes() + predictor_.bytes()};
  }

  // Contexts of the segment that the predictor was asked for.
  std::int64_t n_predicted() const { return predictor_.n_predicted(); }

 private:
  // total: log-probability of all its alignments seen; best: that of the most probable, at `hits`.
  struct Sequence {
    PrefixTree::Prefix prefix;
    double total, best;
    HitLists::List hits;
    PredictorCache::Entry predicted;
  };

  // What a sequence becomes at a frame that adds no token; `grown_from` as in PrefixBeamDecoder.
  struct Stay {
    double total, best;
    std::uint32_t grown_from;
  };

  struct Frame {
    std::int64_t number;
    Level level;
  };

  void Begin(Level level);
  void Step(const Frame& frame);
  void Join(std::span<const float> frame, Level level, double blank_penalty);
  void MeetOrStay();
  void OfferGrown();
  Sequence Made(const Candidate& candidate, const Frame& frame);
  void Keep(const Frame& frame);
  void PredictGrown(Level level);
  void Release(const Sequence& sequence);

  double LogProb(std::uint32_t rank, std::int32_t token) const {
    return log_probs_[rank * sizes_.n_tokens + static_cast<std::size_t>(token)];
  }

  std::shared_ptr<const TransducerModel> model_;
  TransducerModel::Sizes sizes_;
  TransducerOptions options_;
  PrefixTree tree_;
  HitLists hits_;
  PredictorCache predictor_;
  std::vector<Sequence> kept_;  // the best first; empty before a segment's first frame
  std::int64_t n_frames_ = 0;

  // Of the frame at hand; kept to be filled again. One row a kept sequence.
  BestCandidates best_;
  std::vector<float> outputs_, logits_;
  std::vector<double> log_probs_;
  std::vector<Stay> stays_;
  std::vector<Sequence> next_, before_;
  std::vector<Candidate> made_of_;  // of each of `next_`
  std::vector<PredictorCache::Context> contexts_;
  std::vector<PredictorCache::Entry> entries_;
};

}  // namespace sparrot
