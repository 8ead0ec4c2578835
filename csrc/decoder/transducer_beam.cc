#include "decoder/transducer_beam.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "decoder/log_probs.h"

namespace sparrot {
namespace {

const TransducerOptions& Checked(const TransducerOptions& options) {
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

TransducerDecoder::TransducerDecoder(std::shared_ptr<const TransducerModel> model,
                                     const TransducerOptions& options)
    : model_(std::move(model)),
      sizes_(model_->sizes()),
      options_(Checked(options)),
      predictor_(model_, static_cast<std::size_t>(options.beam)),
      best_(static_cast<std::size_t>(options.beam), options.margin) {}

void TransducerDecoder::Reset() {
  kept_.clear();
  tree_.Clear();
  hits_.Clear();
  predictor_.Clear();
  n_frames_ = 0;
}

std::int64_t TransducerDecoder::trailing_blanks() const {
  if (n_tokens() == 0) return n_frames_;
  return n_frames_ - 1 - hits_.Last(kept_.front().hits).frame;
}

std::size_t TransducerDecoder::n_stable() const {
  if (kept_.empty()) return 0;
  std::vector<PrefixTree::Prefix> prefixes;
  for (const Sequence& sequence : kept_) prefixes.push_back(sequence.prefix);
  return tree_.SharedDepth(prefixes);
}

std::vector<Hypothesis> TransducerDecoder::Hypotheses() const {
  if (kept_.empty()) return {{{}, 0.0}};
  std::vector<Hypothesis> hypotheses;
  for (const Sequence& sequence : kept_) {
    hypotheses.push_back({hits_.InOrder(sequence.hits), sequence.total});
  }
  return hypotheses;
}

void TransducerDecoder::Accept(const Rows<const float>& frames, Level level, double blank_penalty) {
  CheckBlankPenalty(blank_penalty);
  if (frames.width != sizes_.encoder) {
    throw std::invalid_argument("the joint network takes frames of " +
                                std::to_string(sizes_.encoder) + " values; got " +
                                std::to_string(frames.width));
  }
  for (std::size_t i = 0; i < frames.n; ++i) {
    if (kept_.empty()) Begin(level);
    Join(frames[i], level, blank_penalty);
    Step({n_frames_, level});
    ++n_frames_;
  }
}

void TransducerDecoder::Begin(Level level) {
  const PredictorCache::Entry predicted = predictor_.Start(level);
  const PrefixTree::Prefix empty = tree_.Hold(tree_.root());
  tree_.SetRank(empty, 0);
  kept_.push_back({empty, 0.0, 0.0, HitLists::kEmpty, predicted});
}

// Fills `log_probs_`.
void TransducerDecoder::Join(std::span<const float> frame, Level level, double blank_penalty) {
  const std::size_t n = kept_.size();
  outputs_.clear();
  for (const Sequence& sequence : kept_) {
    const std::span<const float> output = predictor_.Output(sequence.predicted);
    outputs_.insert(outputs_.end(), output.begin(), output.end());
  }
  logits_.resize(n * sizes_.n_tokens);
  log_probs_.resize(n * sizes_.n_tokens);
  const Rows<float> logits{logits_.data(), n, sizes_.n_tokens};
  const Rows<double> log_probs{log_probs_.data(), n, sizes_.n_tokens};
  model_->Join(level, frame, {outputs_.data(), n, sizes_.output}, logits);
  CheckLogits(logits_);
  for (std::size_t i = 0; i < n; ++i) {
    LogSoftmax(logits[i], log_probs[i]);
    log_probs[i][kBlank] -= blank_penalty;
  }
}

void TransducerDecoder::Step(const Frame& frame) {
  MeetOrStay();
  best_.Clear();
  for (std::uint32_t rank = 0; rank < kept_.size(); ++rank) {
    best_.Offer({stays_[rank].total, rank, kBlank});
  }
  OfferGrown();
  next_.clear();
  made_of_ = best_.Sorted();
  for (const Candidate& candidate : made_of_) next_.push_back(Made(candidate, frame));
  Keep(frame);
}

// Fills `stays_`: sequences after a blank, and after the alignments by which others grow into them.
void TransducerDecoder::MeetOrStay() {
  stays_.clear();
  for (std::uint32_t i = 0; i < kept_.size(); ++i) {
    const Sequence& sequence = kept_[i];
    const double blank = LogProb(i, kBlank);
    Stay stay{sequence.total + blank, sequence.best + blank, PrefixTree::kNotKept};
    const bool is_root = sequence.prefix == tree_.root();
    const std::uint32_t rank =
        is_root ? PrefixTree::kNotKept : tree_.Rank(tree_.Parent(sequence.prefix));
    if (rank != PrefixTree::kNotKept) {
      const double log_prob = LogProb(rank, tree_.Token(sequence.prefix));
      stay.total = LogAdd(stay.total, kept_[rank].total + log_prob);
      if (kept_[rank].best + log_prob > stay.best) {
        stay.best = kept_[rank].best + log_prob;
        stay.grown_from = rank;
      }
    }
    stays_.push_back(stay);
  }
}

void TransducerDecoder::OfferGrown() {
  const auto n_tokens = static_cast<std::int32_t>(sizes_.n_tokens);
  for (std::uint32_t rank = 0; rank < kept_.size(); ++rank) {
    for (std::int32_t token = kBlank + 1; token < n_tokens; ++token) {
      const double score = kept_[rank].total + LogProb(rank, token);
      if (!best_.Admits(score)) continue;
      const PrefixTree::Prefix longer = tree_.FindChild(kept_[rank].prefix, token);
      const bool is_met = longer != PrefixTree::kNone && tree_.Rank(longer) != PrefixTree::kNotKept;
      if (!is_met) best_.Offer({score, rank, token});
    }
  }
}

// What is chosen, its token listed; if it is grown, with the predictor entry before that token.
TransducerDecoder::Sequence TransducerDecoder::Made(const Candidate& candidate,
                                                    const Frame& frame) {
  const auto hit = [&](std::uint32_t rank, std::int32_t token) {
    return TokenHit{token, frame.level, frame.number, LogProb(rank, token)};
  };
  const Sequence& before = kept_[candidate.rank];
  const PredictorCache::Entry predicted = predictor_.Hold(before.predicted);
  if (candidate.token != kBlank) {
    const double log_prob = LogProb(candidate.rank, candidate.token);
    return {tree_.HoldChild(before.prefix, candidate.token), candidate.score,
            before.best + log_prob, hits_.Add(hit(candidate.rank, candidate.token), before.hits),
            predicted};
  }
  const Stay& stay = stays_[candidate.rank];
  const HitLists::List hits = stay.grown_from == PrefixTree::kNotKept
                                  ? hits_.Share(before.hits)
                                  : hits_.Add(hit(stay.grown_from, tree_.Token(before.prefix)),
                                              kept_[stay.grown_from].hits);
  return {tree_.Hold(before.prefix), stay.total, stay.best, hits, predicted};
}

// Keeps those of `next_` that agree with the first, the best, in all that is settled.
void TransducerDecoder::Keep(const Frame& frame) {
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

void TransducerDecoder::Release(const Sequence& sequence) {
  hits_.Release(sequence.hits);
  tree_.Release(sequence.prefix);
  predictor_.Release(sequence.predicted);
}

// Lets the predictor go on by the last token of the sequences that are new.
void TransducerDecoder::PredictGrown(Level level) {
  contexts_.clear();
  for (std::size_t i = 0; i < kept_.size(); ++i) {
    if (made_of_[i].token != kBlank) contexts_.push_back({kept_[i].predicted, made_of_[i].token});
  }
  predictor_.Advance(level, contexts_, entries_);
  std::size_t n_grown = 0;
  for (std::size_t i = 0; i < kept_.size(); ++i) {
    if (made_of_[i].token == kBlank) continue;
    predictor_.Release(kept_[i].predicted);
    kept_[i].predicted = entries_[n_grown++];
  }
}

}  // namespace sparrot
