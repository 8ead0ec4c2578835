// Recurrent language models of words (Mikolov et al. 2010) for a search.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "decoder/hypothesis.h"
#include "language/language_model.h"
#include "network/steps.h"

namespace sparrot {

// A network from the index of a word to the logits of the next, at one of its levels. A sentence begins after
// the end of another, which the network has not seen.
class NetworkWordModel final : public LanguageModel {
 public:
  static constexpr std::int32_t kNoIndex = -1;
  static constexpr double kNeverSeen = -20.0;  // ln p of a word without an index

  // indices: what the network calls each word of the vocabulary, in its order. The unknown word may have none:
  // after it a sentence begins anew. Throws std::invalid_argument, with a sentence, if the network has no such
  // word, or does not go on one word at a time.
  NetworkWordModel(Vocabulary vocabulary, std::vector<std::int32_t> indices, std::shared_ptr<const Network> network,
                   Level level);

  std::unique_ptr<LanguageScorer> NewScorer() const override;

  const NetworkSteps& steps() const { return steps_; }
  Level level() const { return level_; }
  std::int32_t IndexOf(Word word) const { return indices_[word]; }
  std::int32_t end() const { return indices_[vocabulary().end()]; }

 private:
  std::vector<std::int32_t> indices_;
  NetworkSteps steps_;
  Level level_;
};

}  // namespace sparrot
