#include "language/byte_trie.h"

#include <algorithm>
#include <numeric>

namespace sparrot {

ByteTrie::ByteTrie(const std::vector<std::string>& texts) {
  std::vector<Text> sorted(texts.size());
  std::iota(sorted.begin(), sorted.end(), Text{0});
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](Text a, Text b) { return texts[a] < texts[b]; });

  // The sorted texts that begin with a node, and its depth.
  struct Range {
    std::size_t begin, end, depth;
  };
  std::vector<Range> ranges{{0, sorted.size(), 0}};
  bytes_.push_back('\0');
  for (std::size_t node = 0; node < ranges.size(); ++node) {
    auto [begin, end, depth] = ranges[node];
    const bool ends = begin < end && texts[sorted[begin]].size() == depth;
    texts_.push_back(ends ? sorted[begin] : kNone);
    while (begin < end && texts[sorted[begin]].size() == depth) ++begin;
    first_children_.push_back(static_cast<Node>(bytes_.size()));
    while (begin < end) {
      const char byte = texts[sorted[begin]][depth];
      std::size_t next = begin;
      while (next < end && texts[sorted[next]][depth] == byte) ++next;
      bytes_.push_back(byte);
      ranges.push_back({begin, next, depth + 1});
      begin = next;
    }
  }
  first_children_.push_back(static_cast<Node>(bytes_.size()));
}

ByteTrie::Node ByteTrie::Child(Node node, char byte) const {
  const auto begin = bytes_.begin() + first_children_[node];
  const auto end = bytes_.begin() + first_children_[node + 1];
  const auto found = std::find(begin, end, byte);
  return found == end ? kNone : static_cast<Node>(found - bytes_.begin());
}

ByteTrie::Node ByteTrie::Find(const std::string& text) const {
  Node node = kRoot;
  for (const char byte : text) {
    node = Child(node, byte);
    if (node == kNone) return kNone;
  }
  return node;
}

}  // namespace sparrot
