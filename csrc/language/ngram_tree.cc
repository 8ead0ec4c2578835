#include "language/ngram_tree.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <tuple>

namespace sparrot {
namespace {

bool Before(const NgramTree::Entry& a, const NgramTree::Entry& b) {
  return std::tuple(a.context, a.word, a.line) < std::tuple(b.context, b.word, b.line);
}

bool Same(const NgramTree::Entry& a, const NgramTree::Entry& b) {
  return a.context == b.context && a.word == b.word;
}

}  // namespace

NgramTree::NgramTree()
    : words_(1, 0), log_probs_(1, 0.0F), shorter_(1, kRoot), log_backoffs_(1, 0.0F),
      first_children_(1, 1) {}

void NgramTree::AddOrder(std::vector<Entry> entries) {
  if (!std::is_sorted(entries.begin(), entries.end(), Before)) {
    std::sort(entries.begin(), entries.end(), Before);
  }
  const auto twice = std::adjacent_find(entries.begin(), entries.end(), Same);
  if (twice != entries.end()) {
    throw std::invalid_argument("line " + std::to_string((twice + 1)->line) +
                                ": this n-gram is listed at line " +
                                std::to_string(twice->line) + " already");
  }
  if (entries.size() >= kNone - words_.size()) {
    throw std::invalid_argument("it lists more n-grams than can be numbered");
  }
  const auto n_contexts = static_cast<Node>(words_.size());
  for (const Entry& entry : entries) Append(entry);
  auto context = static_cast<Node>(first_children_.size());
  auto node = n_contexts;
  for (const Entry& entry : entries) {
    for (; context <= entry.context; ++context) first_children_.push_back(node);
    ++node;
  }
  for (; context <= n_contexts; ++context) first_children_.push_back(node);
  ++order_;
}

NgramTree::Node NgramTree::Child(Node context, Word word) const {
  if (context == kRoot) return 1 + word;
  const auto begin = words_.begin() + first_children_[context];
  const auto end = words_.begin() + first_children_[context + 1];
  const auto found = std::lower_bound(begin, end, word);
  return found == end || *found != word ? kNone : static_cast<Node>(found - words_.begin());
}

std::size_t NgramTree::bytes() const {
  return words_.capacity() * (sizeof(Word) + 2 * sizeof(float) + sizeof(Node)) +
         first_children_.capacity() * sizeof(Node);
}

void NgramTree::Append(const Entry& entry) {
  Node shorter = kRoot;
  if (entry.context != kRoot) {
    Node end = shorter_[entry.context];
    while ((shorter = Child(end, entry.word)) == kNone) end = shorter_[end];
  }
  words_.push_back(entry.word);
  log_probs_.push_back(entry.log_prob);
  shorter_.push_back(shorter);
  log_backoffs_.push_back(entry.log_backoff);
}

}  // namespace sparrot
