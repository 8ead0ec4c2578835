#include "decoder/transducer_beam.h"

#include <stdexcept>
#include <string>
#include <utility>

#include "decoder/log_probs.h"

namespace sparrot {
namespace {

const TransducerBeamOptions& Checked(const TransducerBeamOptions& options) {
  if (options.beam < 1) {
    throw std::invalid_argument("a beam search keeps at least 1 hypothesis; got a beam of " +
                                std::to_string(options.beam));
  }
  if (!(options.margin >= 0 && options.settle_frames >= 0)) {
    throw std::invalid_argument(
        "a beam search needs a margin and frames to settle of 0 or more; got " +
        std::to_string(options.margin) + " and " + std::to_string(options.settle_frames));
  }
  return options;
}

}  // namespace

TransducerBeam::TransducerBeam(std::shared_ptr<const TransducerModel> model,
                               const TransducerBeamOptions& options,
                               std::shared_ptr<const Bias> bias)
    : TransducerSearch(std::move(model), static_cast<std::size_t>(Checked(options).beam)),
      options_(options),
      best_(static_cast<std::size_t>(options.beam), options.margin) {
  if (bias == nullptr) return;
  bias_.emplace(std::move(bias));
  bias_->CheckTokens(vocabulary());
}

void TransducerBeam::Begin(PredictorCache::Entry start) {
  const PrefixTree::Prefix empty = tree_.Hold(tree_.root());
  tree_.SetRank(empty, 0);
  kept_.push_back({empty, 0.0, 0.0, HitLists::kEmpty, start,
                   bias_ ? bias_->Start() : BiasScorer::State{}});
}

void TransducerBeam::Restart() {
  kept_.clear();
  tree_.Clear();
  hits_.Clear();
}

std::int64_t TransducerBeam::trailing_blanks() const {
  if (n_tokens() == 0) return n_frames();
  return n_frames() - 1 - hits_.Last(kept_.front().hits).frame;
}

std::size_t TransducerBeam::n_stable() const {
  if (kept_.empty()) return 0;
  std::vector<PrefixTree::Prefix> prefixes;
  for (const Sequence& sequence : kept_) prefixes.push_back(sequence.prefix);
  return tree_.SharedDepth(prefixes);
}

std::vector<Hypothesis> TransducerBeam::Hypotheses() const {
  if (kept_.empty()) return {Best()};
  std::vector<Hypothesis> hypotheses;
  for (const Sequence& sequence : kept_) hypotheses.push_back(Shown(sequence));
  return hypotheses;
}

Hypothesis TransducerBeam::Best() const {
  return kept_.empty() ? Hypothesis{{}, 0.0} : Shown(kept_.front());
}

std::vector<Hypothesis> TransducerBeam::Finals() const {
  std::vector<Hypothesis> finals = Hypotheses();
  if (!bias_ || kept_.empty()) return finals;
  for (std::size_t rank = 0; rank < kept_.size(); ++rank) {
    finals[rank].log_prob = kept_[rank].total + bias_->ScoreAtEnd(kept_[rank].bias);
  }
  SortByScore(finals);
  return finals;
}

Hypothesis TransducerBeam::Shown(const Sequence& sequence) const {
  return {hits_.InOrder(sequence.hits), sequence.total + BiasOf(sequence)};
}

void TransducerBeam::ListRows(std::vector<PredictorCache::Entry>& entries) const {
  entries.clear();
  for (const Sequence& sequence : kept_) entries.push_back(sequence.predicted);
}

bool TransducerBeam::Step(const Frame& frame) {
  MeetOrStay(frame);
  best_.Clear();
  for (std::uint32_t rank = 0; rank < kept_.size(); ++rank) {
    best_.Offer({stays_[rank].total + BiasOf(kept_[rank]), rank, kBlank});
  }
  OfferGrown(frame);
  next_.clear();
  made_of_ = best_.Sorted();
  for (const Candidate& candidate : made_of_) next_.push_back(Made(candidate, frame));
  if (bias_) AdvanceBias();
  Keep(frame);
  return true;
}

// Fills `stays_`: sequences after a blank, and after the alignments by which others grow into them.
void TransducerBeam::MeetOrStay(const Frame& frame) {
  stays_.clear();
  for (std::uint32_t i = 0; i < kept_.size(); ++i) {
    const Sequence& sequence = kept_[i];
    const double blank = frame(i, kBlank);
    Stay stay{sequence.total + blank, sequence.best + blank, PrefixTree::kNotKept};
    const bool is_root = sequence.prefix == tree_.root();
    const std::uint32_t rank =
        is_root ? PrefixTree::kNotKept : tree_.Rank(tree_.Parent(sequence.prefix));
    if (rank != PrefixTree::kNotKept) {
      const double log_prob = frame(rank, tree_.Token(sequence.prefix));
      stay.total = LogAdd(stay.total, kept_[rank].total + log_prob);
      if (kept_[rank].best + log_prob > stay.best) {
        stay.best = kept_[rank].best + log_prob;
        stay.grown_from = rank;
      }
    }
    stays_.push_back(stay);
  }
}

void TransducerBeam::OfferGrown(const Frame& frame) {
  const auto n_tokens = static_cast<std::int32_t>(vocabulary());
  for (std::uint32_t rank = 0; rank < kept_.size(); ++rank) {
    const double most = bias_ ? bias_->MostWith(kept_[rank].bias) : 0.0;
    for (std::int32_t token = kBlank + 1; token < n_tokens; ++token) {
      const double log_prob = kept_[rank].total + frame(rank, token);
      if (!best_.Admits(log_prob + most)) continue;
      const double score =
          bias_ ? log_prob + bias_->ScoreWith(kept_[rank].bias, token) : log_prob;
      if (!best_.Admits(score)) continue;
      const PrefixTree::Prefix longer = tree_.FindChild(kept_[rank].prefix, token);
      const bool is_met = longer != PrefixTree::kNone && tree_.Rank(longer) != PrefixTree::kNotKept;
      if (!is_met) best_.Offer({score, rank, token});
    }
  }
}

// What is chosen, its token listed; if it is grown, with the predictor entry before that token.
TransducerBeam::Sequence TransducerBeam::Made(const Candidate& candidate, const Frame& frame) {
  const Sequence& before = kept_[candidate.rank];
  const PredictorCache::Entry predicted = predictor().Hold(before.predicted);
  if (candidate.token != kBlank) {
    const TokenHit hit = frame.Hit(candidate.rank, candidate.token);
    return {tree_.HoldChild(before.prefix, candidate.token),
            before.total + hit.log_prob,
            before.best + hit.log_prob,
            hits_.Add(hit, before.hits),
            predicted,
            before.bias};
  }
  const Stay& stay = stays_[candidate.rank];
  const HitLists::List hits =
      stay.grown_from == PrefixTree::kNotKept
          ? hits_.Share(before.hits)
          : hits_.Add(frame.Hit(stay.grown_from, tree_.Token(before.prefix)),
                      kept_[stay.grown_from].hits);
  return {tree_.Hold(before.prefix), stay.total, stay.best, hits, predicted, before.bias};
}

// Lets the bias of `next_` go on by the tokens that it was made of.
void TransducerBeam::AdvanceBias() {
  steps_.clear();
  for (std::size_t i = 0; i < next_.size(); ++i) {
    steps_.push_back({&next_[i].bias, made_of_[i].token});
  }
  bias_->Advance(steps_);
}

// Keeps those of `next_` that agree with the first, the best, in all that is settled.
void TransducerBeam::Keep(const Frame& frame) {
  const Sequence& best = next_.front();
  const std::size_t n_open = hits_.CountSince(best.hits, frame.number - options_.settle_frames);
  const std::size_t n_settled = tree_.Depth(best.prefix) - n_open;
  const PrefixTree::Prefix settled = tree_.Cut(best.prefix, n_settled);
  kept_.swap(before_);
  kept_.clear();
  std::size_t n_kept = 0;
  for (std::size_t i = 0; i < next_.size(); ++i) {
    if (tree_.Cut(next_[i].prefix, n_settled) == settled) {
      kept_.push_back(next_[i]);
      made_of_[n_kept++] = made_of_[i];
    } else {
      Release(next_[i]);
    }
  }
  PredictGrown(frame.level);  // before what it may find again is given up
  for (const Sequence& sequence : before_) {
    tree_.SetRank(sequence.prefix, PrefixTree::kNotKept);
    Release(sequence);
  }
  for (std::uint32_t rank = 0; rank < kept_.size(); ++rank) tree_.SetRank(kept_[rank].prefix, rank);
}

void TransducerBeam::Release(const Sequence& sequence) {
  hits_.Release(sequence.hits);
  tree_.Release(sequence.prefix);
  predictor().Release(sequence.predicted);
}

// Lets the predictor go on by the last token of the sequences that are new.
void TransducerBeam::PredictGrown(Level level) {
  for (std::size_t i = 0; i < kept_.size(); ++i) {
    if (made_of_[i].token == kBlank) continue;
    const PredictorCache::Entry before = kept_[i].predicted;
    kept_[i].predicted = predictor().Hold(level, {before, made_of_[i].token});
    predictor().Release(before);
  }
}

}  // namespace sparrot
