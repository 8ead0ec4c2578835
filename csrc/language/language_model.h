// What a language model tells the searches that use it.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>

#include "language/vocabulary.h"

namespace sparrot {

// The probabilities of what may follow in the hypotheses of one search. A context is a sentence so
// far; its number is the scorer's own. One thread at a time.
class LanguageScorer {
 public:
  using Context = std::uint32_t;

  // One more word after a context; kNothing is no word.
  struct Continuation {
    Context context;
    Word word;
  };
  static constexpr Word kNothing = std::numeric_limits<Word>::max();

  virtual ~LanguageScorer() = default;

  // Forgets all contexts but the empty one, before the first word.
  virtual Context Start() = 0;

  // Replaces the contexts by those after the words. All that are still needed are among them, and
  // others may be forgotten; those of a frame come together, for a network to compute at once.
  virtual void Advance(std::span<Continuation> continuations) = 0;

  // ln p(word | context); of kNothing it is 0.
  virtual double LogProb(const Continuation& continuation) const = 0;

  // ln p(word, end of the sentence | context)
  virtual double LogProbToEnd(const Continuation& continuation) const = 0;
};

// Immutable; any number of searches and threads may share one.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  const Vocabulary& vocabulary() const { return vocabulary_; }

  // For one search. It must not outlive the model.
  virtual std::unique_ptr<LanguageScorer> NewScorer() const = 0;

 protected:
  explicit LanguageModel(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

 private:
  Vocabulary vocabulary_;
};

}  // namespace sparrot
