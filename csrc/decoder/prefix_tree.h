// The tree of the token sequences that a search keeps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "decoder/hypothesis.h"
#include "decoder/pool.h"

namespace sparrot {

// A node is a token after another prefix; the root is empty. A sequence has one node as long as it
// or a longer one is held, so equal sequences meet.
class PrefixTree {
 public:
  using Prefix = std::uint32_t;
  static constexpr std::uint32_t kNotKept = std::numeric_limits<std::uint32_t>::max();

  PrefixTree() { Clear(); }

  // The empty prefix; it is always there.
  Prefix root() const { return kRoot; }

  // The prefix one token longer; the caller holds it.
  Prefix HoldChild(Prefix prefix, std::int32_t token);

  // `prefix` once more; the caller holds it.
  Prefix Hold(Prefix prefix);

  // Takes it out of the tree, and what it leaves without use, unless it is still needed.
  void Release(Prefix prefix);

  // kNone where there is none.
  Prefix FindChild(Prefix prefix, std::int32_t token) const;

  // Of any prefix but the root.
  Prefix Parent(Prefix prefix) const { return nodes_[prefix].parent; }

  std::int32_t Token(Prefix prefix) const { return nodes_[prefix].token; }
  std::size_t Depth(Prefix prefix) const { return nodes_[prefix].depth; }

  // Its first `depth` tokens, or all if it has fewer.
  Prefix Cut(Prefix prefix, std::size_t depth) const;

  // Tokens that all of them begin with. There must be one.
  std::size_t SharedDepth(std::span<const Prefix> prefixes) const;

  // The place of a prefix among those kept, which the search writes; kNotKept at first.
  std::uint32_t Rank(Prefix prefix) const { return nodes_[prefix].rank; }
  void SetRank(Prefix prefix, std::uint32_t rank) { nodes_[prefix].rank = rank; }

  std::size_t size() const { return nodes_.size(); }
  std::size_t bytes() const { return nodes_.bytes(); }

  // Leaves the root, which nobody holds.
  void Clear();

  static constexpr Prefix kNone = std::numeric_limits<Prefix>::max();

 private:
  static constexpr Prefix kRoot = 0;

  struct Node {
    std::int32_t token;
    std::uint32_t depth;
    Prefix parent;
    Prefix first_child;  // siblings are few: each leads to a prefix that is held
    Prefix next_sibling;
    std::uint32_t n_users;  // holders and children
    std::uint32_t rank;
  };

  void Unlink(Prefix prefix);

  Pool<Node> nodes_;
};

}  // namespace sparrot
