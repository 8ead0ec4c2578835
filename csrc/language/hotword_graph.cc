#include "language/hotword_graph.h"

#include <algorithm>

namespace sparrot {
namespace {

std::vector<std::string> AfterSpaces(const std::vector<Hotword>& hotwords) {
  std::vector<std::string> texts;
  for (const Hotword& hotword : hotwords) texts.push_back(" " + hotword.phrase);
  return texts;
}

}  // namespace

HotwordGraph::HotwordGraph(const std::vector<Hotword>& hotwords)
    : trie_(AfterSpaces(hotwords)),
      start_(trie_.Child(ByteTrie::kRoot, ' ')),
      fails_(trie_.size(), ByteTrie::kRoot),
      lent_(trie_.size(), 0.0),
      kept_(trie_.size(), 0.0) {
  LendShares(hotwords);
  // In the order of depth, so that what a node fails to is complete.
  for (Node node = ByteTrie::kRoot; node < trie_.size(); ++node) {
    kept_[node] += kept_[fails_[node]];
    lent_[node] += lent_[fails_[node]];
    for (Node child = trie_.FirstChild(node); child < trie_.FirstChild(node + 1); ++child) {
      if (node != ByteTrie::kRoot) fails_[child] = Next(fails_[node], trie_.Byte(child));
    }
  }
  most_ = *std::max_element(lent_.begin(), lent_.end());
}

HotwordGraph::Node HotwordGraph::Next(Node node, char byte) const {
  if (byte == ' ' && trie_.Byte(node) == ' ') return node;
  Node next = trie_.Child(node, byte);
  while (next == ByteTrie::kNone && node != ByteTrie::kRoot) {
    node = fails_[node];
    next = trie_.Child(node, byte);
  }
  return next == ByteTrie::kNone ? ByteTrie::kRoot : next;
}

// Fills what each node lends and keeps by itself.
void HotwordGraph::LendShares(const std::vector<Hotword>& hotwords) {
  for (const auto& [phrase, boost] : hotwords) {
    Node node = start_;
    for (std::size_t n = 1; n <= phrase.size(); ++n) {
      node = trie_.Child(node, phrase[n - 1]);
      const double share = boost * static_cast<double>(n) / static_cast<double>(phrase.size());
      if (n < phrase.size()) lent_[node] = std::max(lent_[node], share);
    }
    kept_[node] = boost;
  }
  for (Node node = ByteTrie::kRoot; node < trie_.size(); ++node) {
    lent_[node] += std::max(kept_[node], 0.0);
  }
}

}  // namespace sparrot
