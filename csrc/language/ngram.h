// N-gram language models with back-off (Katz 1987).
#pragma once

#include <memory>
#include <utility>

#include "language/language_model.h"
#include "language/ngram_tree.h"

namespace sparrot {

// With p and b the probabilities and back-off weights that an ARPA file lists,
//
//     p(w | c) = p(c w)                                where c w is listed, otherwise
//                b(c) p(w | c without its first word),   b = 1 where c is not listed
//
// What is kept of a context is its longest end that is listed, which changes no p(w | c): not even
// where pruning has taken the shorter of two n-grams and left the longer. The float32 logarithms
// of the file are added in double.
class Ngram final : public LanguageModel {
 public:
  // The words' numbers are those of the tree.
  Ngram(Vocabulary vocabulary, NgramTree tree)
      : LanguageModel(std::move(vocabulary)), tree_(std::move(tree)) {}

  std::unique_ptr<LanguageScorer> NewScorer() const override;

  const NgramTree& tree() const { return tree_; }

 private:
  NgramTree tree_;
};

}  // namespace sparrot
