#include "decoder/prefix_beam.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "decoder/log_probs.h"

namespace sparrot {
namespace {

const PrefixBeamOptions& Checked(const PrefixBeamOptions& options) {
  if (options.beam < 1) {
    throw std::invalid_argument("a beam search keeps at least 1 hypothesis; got a beam of " +
                                std::to_string(options.beam));
  }
  const bool in_range = options.margin >= 0 && options.settle_frames >= 0 &&
                        options.token_floor == options.token_floor;
  if (!in_range) {
    throw std::invalid_argument(
        "a beam search needs a margin and frames to settle of 0 or more, and a floor that is a "
        "number; got " +
        std::to_string(options.margin) + ", " + std::to_string(options.settle_frames) + " and " +
        std::to_string(options.token_floor));
  }
  return options;
}

}  // namespace

PrefixBeamDecoder::PrefixBeamDecoder(const PrefixBeamOptions& options,
                                     std::shared_ptr<const Bias> bias)
    : options_(Checked(options)), best_(static_cast<std::size_t>(options.beam), options.margin) {
  if (bias != nullptr) bias_.emplace(std::move(bias));
  Restart();
}

void PrefixBeamDecoder::Restart() {
  hits_.Clear();
  tree_.Clear();
  const PrefixTree::Prefix empty = tree_.Hold(tree_.root());
  tree_.SetRank(empty, 0);
  const auto bias = bias_ ? bias_->Start() : BiasScorer::State{};
  kept_.assign(1, {empty, 0.0, kImpossible, 0.0, {0.0, HitLists::kEmpty}, {}, bias});
}

std::size_t PrefixBeamDecoder::n_stable() const {
  std::vector<PrefixTree::Prefix> prefixes;
  for (const Labelling& labelling : kept_) prefixes.push_back(labelling.prefix);
  return tree_.SharedDepth(prefixes);
}

Hypothesis PrefixBeamDecoder::Best() const {
  return {hits_.InOrder(kept_.front().best().hits), kept_.front().total + BiasOf(kept_.front())};
}

std::vector<Hypothesis> PrefixBeamDecoder::Hypotheses() const {
  std::vector<Hypothesis> hypotheses;
  for (const Labelling& labelling : kept_) {
    hypotheses.push_back({hits_.InOrder(labelling.best().hits), labelling.total + BiasOf(labelling)});
  }
  return hypotheses;
}

std::vector<Hypothesis> PrefixBeamDecoder::Finals() const {
  std::vector<Hypothesis> finals = Hypotheses();
  if (!bias_) return finals;
  for (std::size_t rank = 0; rank < kept_.size(); ++rank) {
    finals[rank].log_prob = kept_[rank].total + bias_->ScoreAtEnd(kept_[rank].bias);
  }
  SortByScore(finals);
  return finals;
}

void PrefixBeamDecoder::Step(const Frame& frame) {
  if (bias_) bias_->CheckTokens(frame.log_probs.size());
  FindWorthwhile(frame);
  Repeat(frame);
  Join(frame);
  best_.Clear();
  for (std::uint32_t rank = 0; rank < kept_.size(); ++rank) {
    best_.Offer({stays_[rank].total + BiasOf(kept_[rank]), rank, kBlank});
  }
  OfferGrown(frame);
  next_.clear();
  const std::vector<Candidate>& made_of = best_.Sorted();
  for (const Candidate& candidate : made_of) {
    next_.push_back(candidate.token == kBlank ? Stayed(candidate.rank, frame)
                                              : Grown(candidate, frame));
  }
  if (bias_) AdvanceBias(made_of);
  KeepSettled(next_, frame.number - options_.settle_frames);
}

void PrefixBeamDecoder::FindWorthwhile(const Frame& frame) {
  const auto tokens = frame.log_probs.subspan(kBlank + 1);
  floor_ = std::min(options_.token_floor, *std::max_element(tokens.begin(), tokens.end()));
  worthwhile_.clear();
  for (std::size_t k = 0; k < tokens.size(); ++k) {
    if (tokens[k] >= floor_) worthwhile_.push_back(static_cast<std::int32_t>(k) + kBlank + 1);
  }
}

// A blank, or the last token again.
void PrefixBeamDecoder::Repeat(const Frame& frame) {
  stays_.clear();
  for (const Labelling& labelling : kept_) {
    const double blank = frame[kBlank];
    Stay stay{labelling.total + blank,           kImpossible, 0.0,
              labelling.best().log_prob + blank, kImpossible, PrefixTree::kNotKept};
    if (labelling.prefix != tree_.root()) {
      const double log_prob = frame[tree_.Token(labelling.prefix)];
      stay.p_token = labelling.p_token + log_prob;
      stay.to_token = labelling.to_token.log_prob + log_prob;
    }
    stay.total = LogAdd(stay.p_blank, stay.p_token);
    stays_.push_back(stay);
  }
}

// Adds the alignments by which a kept labelling grows into another.
void PrefixBeamDecoder::Join(const Frame& frame) {
  for (std::size_t i = 0; i < kept_.size(); ++i) {
    const PrefixTree::Prefix prefix = kept_[i].prefix;
    if (prefix == tree_.root()) continue;
    const std::uint32_t rank = tree_.Rank(tree_.Parent(prefix));
    const std::int32_t token = tree_.Token(prefix);
    if (rank == PrefixTree::kNotKept || !(frame[token] >= floor_)) continue;
    const Labelling& shorter = kept_[rank];
    Stay& stay = stays_[i];
    stay.p_token = LogAdd(stay.p_token, GrownProb(shorter, token, frame));
    stay.total = LogAdd(stay.p_blank, stay.p_token);
    const double log_prob = PathBefore(shorter, token).log_prob + frame[token];
    if (log_prob > stay.to_token) {
      stay.to_token = log_prob;
      stay.grown_from = rank;
    }
  }
}

void PrefixBeamDecoder::OfferGrown(const Frame& frame) {
  for (std::uint32_t rank = 0; rank < kept_.size(); ++rank) {
    const Labelling& shorter = kept_[rank];
    for (const std::int32_t token : worthwhile_) {
      const double bias = bias_ ? bias_->ScoreWith(shorter.bias, token) : 0.0;
      const double score = GrownProb(shorter, token, frame) + bias;
      if (!best_.Admits(score)) continue;
      const PrefixTree::Prefix longer = tree_.FindChild(shorter.prefix, token);
      const bool is_joined =
          longer != PrefixTree::kNone && tree_.Rank(longer) != PrefixTree::kNotKept;
      if (!is_joined) best_.Offer({score, rank, token});
    }
  }
}

// Lets the bias of `next_` go on by the tokens that it was made of.
void PrefixBeamDecoder::AdvanceBias(const std::vector<Candidate>& made_of) {
  steps_.clear();
  for (std::size_t i = 0; i < next_.size(); ++i) {
    steps_.push_back({&next_[i].bias, made_of[i].token});
  }
  bias_->Advance(steps_);
}

// Keeps those of `likely` that agree with the first, the best, in all before frame `number`.
void PrefixBeamDecoder::KeepSettled(std::vector<Labelling>& likely, std::int64_t number) {
  const Labelling& best = likely.front();
  const std::size_t n_settled =
      tree_.Depth(best.prefix) - hits_.CountSince(best.best().hits, number);
  const PrefixTree::Prefix settled = tree_.Cut(best.prefix, n_settled);
  for (const Labelling& labelling : kept_) {
    tree_.SetRank(labelling.prefix, PrefixTree::kNotKept);
    Release(labelling);
  }
  kept_.clear();
  for (const Labelling& labelling : likely) {
    if (tree_.Cut(labelling.prefix, n_settled) == settled) {
      tree_.SetRank(labelling.prefix, static_cast<std::uint32_t>(kept_.size()));
      kept_.push_back(labelling);
    } else {
      Release(labelling);
    }
  }
}

// Log-probability of the labelling that one more token makes of `shorter`.
double PrefixBeamDecoder::GrownProb(const Labelling& shorter, std::int32_t token,
                                     const Frame& frame) const {
  return (token == tree_.Token(shorter.prefix) ? shorter.p_blank : shorter.total) + frame[token];
}

// The most probable alignment that one more token can continue.
const PrefixBeamDecoder::Path& PrefixBeamDecoder::PathBefore(const Labelling& shorter,
                                                             std::int32_t token) const {
  return token == tree_.Token(shorter.prefix) ? shorter.to_blank : shorter.best();
}

PrefixBeamDecoder::Labelling PrefixBeamDecoder::Stayed(std::uint32_t rank, const Frame& frame) {
  const Labelling& before = kept_[rank];
  const Stay& stay = stays_[rank];
  Labelling stayed{tree_.Hold(before.prefix), stay.p_blank, stay.p_token, stay.total, {}, {},
                   before.bias};
  stayed.to_blank = {stay.to_blank, hits_.Share(before.best().hits)};
  if (stay.grown_from != PrefixTree::kNotKept) {
    const std::int32_t token = tree_.Token(before.prefix);
    const Path& shorter = PathBefore(kept_[stay.grown_from], token);
    stayed.to_token = {stay.to_token, hits_.Add(frame.Hit(token), shorter.hits)};
  } else if (before.prefix != tree_.root()) {
    stayed.to_token = {stay.to_token, Repeated(before.to_token.hits, frame)};
  }
  return stayed;
}

PrefixBeamDecoder::Labelling PrefixBeamDecoder::Grown(const Candidate& candidate,
                                                      const Frame& frame) {
  const Labelling& shorter = kept_[candidate.rank];
  const Path& before = PathBefore(shorter, candidate.token);
  const Path path{before.log_prob + frame[candidate.token],
                  hits_.Add(frame.Hit(candidate.token), before.hits)};
  const PrefixTree::Prefix prefix = tree_.HoldChild(shorter.prefix, candidate.token);
  const double log_prob = GrownProb(shorter, candidate.token, frame);
  return {prefix, kImpossible, log_prob, log_prob, {}, path, shorter.bias};
}

// One more frame of the last token, whose hit moves there if it is more probable there.
HitLists::List PrefixBeamDecoder::Repeated(HitLists::List hits, const Frame& frame) {
  const TokenHit& last = hits_.Last(hits);
  if (!(frame[last.id] > last.log_prob)) return hits_.Share(hits);
  return hits_.Add(frame.Hit(last.id), hits_.Before(hits));
}

void PrefixBeamDecoder::Release(const Labelling& labelling) {
  hits_.Release(labelling.to_blank.hits);
  hits_.Release(labelling.to_token.hits);
  tree_.Release(labelling.prefix);
}

}  // namespace sparrot
