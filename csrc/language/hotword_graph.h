// Phrases whose transcripts are preferred, found in a text while it is written.
#pragma once

#include <string>
#include <vector>

#include "language/byte_trie.h"

namespace sparrot {

// A phrase of whole words, and what each time that it stands in a text adds to the text's score.
struct Hotword {
  std::string phrase;
  double boost;
};

// An automaton over the bytes of a text (Aho and Corasick 1975), whichever tokens spell them. It
// knows which words at the end of the text may become hotwords. What they may add is lent: of a
// boost as large a share as is written of the phrase, and given back where the text goes on
// otherwise. Where the beginnings of several are the same, the largest share is lent. Of a negative
// boost nothing is lent.
//
// A state is a node: the longest end of the text that begins hotwords. Immutable.
class HotwordGraph {
 public:
  using Node = ByteTrie::Node;

  // The phrases are different, not empty, and have single spaces between their words.
  explicit HotwordGraph(const std::vector<Hotword>& hotwords);

  // Where a word may begin.
  Node start() const { return start_; }

  // After one more byte. Spaces that follow each other are one.
  Node Next(Node node, char byte) const;

  // What is lent, and what is added for good if a word ends here.
  double Lent(Node node) const { return lent_[node]; }
  double Kept(Node node) const { return kept_[node]; }

  // The most that is lent anywhere.
  double most() const { return most_; }

 private:
  void LendShares(const std::vector<Hotword>& hotwords);

  ByteTrie trie_;  // of phrases with a space before them
  Node start_;
  std::vector<Node> fails_;  // the longest proper end of a node that is a node
  std::vector<double> lent_, kept_;
  double most_ = 0.0;
};

}  // namespace sparrot
