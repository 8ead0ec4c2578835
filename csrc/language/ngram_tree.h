// N-grams as a tree: a node is a word after the node of the words before it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "language/vocabulary.h"

namespace sparrot {

// Grows by an order at a time, then no more. Nodes are sorted by their length, then the node before,
// then their last word; the root, 0, is empty. Logarithms are to base 10, as ARPA files hold them.
class NgramTree {
 public:
  using Node = std::uint32_t;
  static constexpr Node kRoot = 0;
  static constexpr Node kNone = std::numeric_limits<Node>::max();

  // An n-gram, and the line of the file that lists it.
  struct Entry {
    Node context;  // all but its last word
    Word word;
    float log_prob, log_backoff;
    std::uint32_t line;
  };

  NgramTree();

  // All n-grams of the next order, in any order; unigrams by the numbers of their words, from 0 on.
  // Throws std::invalid_argument, with a sentence that begins with the line, if one is there twice.
  void AddOrder(std::vector<Entry> entries);

  // kNone where it is not listed. The context must be shorter than the order.
  Node Child(Node context, Word word) const;

  float log_prob(Node node) const { return log_probs_[node]; }
  float log_backoff(Node context) const { return log_backoffs_[context]; }

  // The longest proper end of a node that is a node.
  Node Shorter(Node node) const { return shorter_[node]; }

  // Whether a node is shorter than the order.
  bool IsContext(Node node) const { return node + 1 < first_children_.size(); }

  std::size_t order() const { return order_; }
  std::size_t n_ngrams() const { return words_.size() - 1; }
  std::size_t bytes() const;

 private:
  void Append(const Entry& entry);

  std::size_t order_ = 0;

  // Of every node; that of the root says nothing.
  std::vector<Word> words_;
  std::vector<float> log_probs_;
  std::vector<Node> shorter_;
  std::vector<float> log_backoffs_;

  // Of every context, and one more.
  std::vector<Node> first_children_;
};

}  // namespace sparrot
