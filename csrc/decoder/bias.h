// What hotwords and a language model add to the scores of token sequences.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "language/hotword_graph.h"
#include "language/language_model.h"

namespace sparrot {

// A language model in a search.
//   scale   factor of its log-probabilities, 0 or more
//   bonus   added for each word
//   tokens  what it calls each token, if its words are single tokens; otherwise empty
struct Fusion {
  std::shared_ptr<const LanguageModel> model;
  double scale;
  double bonus;
  std::vector<std::string> tokens;
};

// With n(h) the times that a hotword stands in the text of a sequence, and w its words,
//
//     bias = Σ_h n(h) boost(h) + what is lent for begun hotwords + Σ_w (scale ln p(w) + bonus)
//
// A word counts as soon as another begins; a model of tokens scores each token at once. Immutable;
// any number of searches may share one.
class Bias {
 public:
  // spellings: what each token writes, in UTF-8, a space first where a word begins. Throws
  // std::invalid_argument, with a sentence, if a number is out of its range.
  Bias(std::vector<std::string> spellings, const std::vector<Hotword>& hotwords,
       std::optional<Fusion> fusion);

 private:
  friend class BiasScorer;

  std::vector<std::string> spellings_;
  std::vector<bool> starts_word_;  // of each token
  std::optional<HotwordGraph> hotwords_;
  std::optional<Fusion> fusion_;
  std::vector<Word> words_;  // each token, for a model of tokens; otherwise empty
};

// The bias of the hypotheses of one search. It is a function of their tokens alone.
class BiasScorer {
 public:
  explicit BiasScorer(std::shared_ptr<const Bias> bias);

  // Throws std::invalid_argument, with a sentence, unless so many tokens have a spelling, the blank
  // included.
  void CheckTokens(std::size_t n_tokens) const;

  // What is known of a token sequence.
  //   hotwords          those that it begins at its end
  //   complete          what was added for others
  //   context, letters  its words but the last, and the last
  //   words, last_word  what was added for the former, and what will be for the latter
  struct State {
    HotwordGraph::Node hotwords;
    double complete;
    LanguageScorer::Context context;
    Vocabulary::Letters letters;
    double words, last_word;
  };

  // A sequence that goes on by a token, or as it is: kBlank.
  struct Step {
    State* state;
    std::int32_t token;
  };

  // The empty sequence. All others are forgotten.
  State Start();

  double Score(const State& state) const;

  // The score with one more token, and what that can be at most.
  double ScoreWith(const State& state, std::int32_t token) const;
  double MostWith(const State& state) const;

  // The score if nothing follows: what is lent is given back, the last word counts, and so does
  // the end of the sentence.
  double ScoreAtEnd(const State& state) const;

  // Goes on to the next frame in all sequences that are kept; others are forgotten.
  void Advance(std::span<const Step> steps);

 private:
  using Continuation = LanguageScorer::Continuation;

  Continuation CompletedBy(std::int32_t token, const State& state) const;
  Continuation LastWord(const State& state) const;
  double WordsWith(const State& state, std::int32_t token) const;
  void WriteHotwords(State& state, std::int32_t token) const;
  void WriteLastWord(State& state, std::int32_t token) const;

  std::shared_ptr<const Bias> bias_;
  std::unique_ptr<LanguageScorer> scorer_;
  std::vector<Continuation> completed_;  // by the steps of the frame at hand
};

}  // namespace sparrot
