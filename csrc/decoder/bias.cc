#include "decoder/bias.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "decoder/hypothesis.h"

namespace sparrot {
namespace {

constexpr double kLargest = 1e4;
constexpr double kSlack = 1e-6;  // more than rounding adds

bool IsInRange(double value) { return std::abs(value) <= kLargest; }  // no NaN is

void CheckFusion(const Fusion& fusion) {
  if (!(fusion.scale >= 0.0 && IsInRange(fusion.scale) && IsInRange(fusion.bonus))) {
    throw std::invalid_argument(
        "a language model needs a scale from 0 to 10000 and a bonus from -10000 to 10000; got " +
        std::to_string(fusion.scale) + " and " + std::to_string(fusion.bonus));
  }
}

}  // namespace

Bias::Bias(std::vector<std::string> spellings, const std::vector<Hotword>& hotwords,
           std::optional<Fusion> fusion)
    : spellings_(std::move(spellings)), fusion_(std::move(fusion)) {
  for (const std::string& spelling : spellings_) starts_word_.push_back(spelling.starts_with(' '));
  for (const Hotword& hotword : hotwords) {
    if (!IsInRange(hotword.boost)) {
      throw std::invalid_argument("a boost is a number from -10000 to 10000; got " +
                                  std::to_string(hotword.boost));
    }
  }
  if (!hotwords.empty()) hotwords_.emplace(hotwords);
  if (!fusion_) return;
  CheckFusion(*fusion_);
  for (const std::string& token : fusion_->tokens) {
    words_.push_back(fusion_->model->vocabulary().Find(token));
  }
}

BiasScorer::BiasScorer(std::shared_ptr<const Bias> bias) : bias_(std::move(bias)) {
  if (bias_->fusion_) scorer_ = bias_->fusion_->model->NewScorer();
}

void BiasScorer::CheckTokens(std::size_t n_tokens) const {
  if (n_tokens == bias_->spellings_.size()) return;
  throw std::invalid_argument("hotwords and language models are spelt with " +
                              std::to_string(bias_->spellings_.size()) + " tokens; the network has " +
                              std::to_string(n_tokens));
}

BiasScorer::State BiasScorer::Start() {
  const auto hotwords = bias_->hotwords_ ? bias_->hotwords_->start() : ByteTrie::kRoot;
  const auto context = scorer_ ? scorer_->Start() : LanguageScorer::Context{0};
  return {hotwords, 0.0, context, Vocabulary::kNoLetters, 0.0, 0.0};
}

double BiasScorer::Score(const State& state) const {
  const double lent = bias_->hotwords_ ? bias_->hotwords_->Lent(state.hotwords) : 0.0;
  return state.complete + lent + state.words;
}

double BiasScorer::ScoreWith(const State& state, std::int32_t token) const {
  State next = state;
  if (bias_->hotwords_) WriteHotwords(next, token);
  if (bias_->fusion_) next.words = WordsWith(state, token);
  return Score(next);
}

double BiasScorer::MostWith(const State& state) const {
  const double most = state.complete + state.words + std::max(state.last_word, 0.0) + kSlack;
  if (!bias_->hotwords_) return most;
  return most + std::max(bias_->hotwords_->Kept(state.hotwords), 0.0) + bias_->hotwords_->most();
}

double BiasScorer::ScoreAtEnd(const State& state) const {
  const double kept = bias_->hotwords_ ? bias_->hotwords_->Kept(state.hotwords) : 0.0;
  if (!bias_->fusion_) return state.complete + kept;
  const double bonus = state.letters == Vocabulary::kNoLetters ? 0.0 : bias_->fusion_->bonus;
  const double end = bias_->fusion_->scale * scorer_->LogProbToEnd(LastWord(state)) + bonus;
  return state.complete + kept + (state.words + end);
}

void BiasScorer::Advance(std::span<const Step> steps) {
  if (bias_->hotwords_) {
    for (const auto& [state, token] : steps) WriteHotwords(*state, token);
  }
  if (!bias_->fusion_) return;
  completed_.clear();
  for (const auto& [state, token] : steps) {
    completed_.push_back(CompletedBy(token, *state));
    state->words = WordsWith(*state, token);
  }
  scorer_->Advance(completed_);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto& [state, token] = steps[i];
    state->context = completed_[i].context;
    if (token != kBlank) WriteLastWord(*state, token);
  }
}

// The word that the token completes: itself, or that before it.
BiasScorer::Continuation BiasScorer::CompletedBy(std::int32_t token, const State& state) const {
  const auto number = static_cast<std::size_t>(token);
  if (!bias_->words_.empty() && token != kBlank) return {state.context, bias_->words_[number]};
  if (bias_->starts_word_[number]) return LastWord(state);
  return {state.context, LanguageScorer::kNothing};
}

// The word at hand, unless it has no letters or was scored by its tokens.
BiasScorer::Continuation BiasScorer::LastWord(const State& state) const {
  if (state.letters == Vocabulary::kNoLetters || !bias_->words_.empty()) {
    return {state.context, LanguageScorer::kNothing};
  }
  return {state.context, bias_->fusion_->model->vocabulary().WordOf(state.letters)};
}

double BiasScorer::WordsWith(const State& state, std::int32_t token) const {
  double words = state.words;
  if (!bias_->words_.empty()) {
    words += bias_->fusion_->scale * scorer_->LogProb(CompletedBy(token, state));
  }
  if (bias_->starts_word_[static_cast<std::size_t>(token)]) words += state.last_word;
  return words;
}

void BiasScorer::WriteHotwords(State& state, std::int32_t token) const {
  const auto number = static_cast<std::size_t>(token);
  if (bias_->starts_word_[number]) state.complete += bias_->hotwords_->Kept(state.hotwords);
  for (const char byte : bias_->spellings_[number]) {
    state.hotwords = bias_->hotwords_->Next(state.hotwords, byte);
  }
}

void BiasScorer::WriteLastWord(State& state, std::int32_t token) const {
  const Vocabulary& vocabulary = bias_->fusion_->model->vocabulary();
  for (const char byte : bias_->spellings_[static_cast<std::size_t>(token)]) {
    state.letters = byte == ' ' ? Vocabulary::kNoLetters : vocabulary.Next(state.letters, byte);
  }
  state.last_word = 0.0;
  if (state.letters == Vocabulary::kNoLetters) return;
  state.last_word =
      bias_->fusion_->scale * scorer_->LogProb(LastWord(state)) + bias_->fusion_->bonus;
}

}  // namespace sparrot
