// The tokens of alignments as lists, the last first, that share what came before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "decoder/hypothesis.h"
#include "decoder/pool.h"

namespace sparrot {

// A list is held by whoever made or shared it, until released. One hit is stored per token and
// alignment that differ, and lives as long as a list needs it.
class HitLists {
 public:
  using List = std::uint32_t;
  static constexpr List kEmpty = std::numeric_limits<List>::max();

  // The list of `before` and one hit more; the caller holds it. `before` stays the caller's.
  List Add(const TokenHit& hit, List before);

  // `list` once more; the caller holds it.
  List Share(List list);

  void Release(List list);

  // Of a list that is not empty.
  const TokenHit& Last(List list) const { return nodes_[list].last; }
  List Before(List list) const { return nodes_[list].before; }

  std::vector<TokenHit> InOrder(List list) const;

  // Hits at the end of a list that lie at this frame or later.
  std::size_t CountSince(List list, std::int64_t frame) const;

  std::size_t size() const { return nodes_.size(); }
  std::size_t bytes() const { return nodes_.bytes(); }
  void Clear() { nodes_.Clear(); }

 private:
  struct Node {
    TokenHit last;
    List before;
    std::uint32_t n_users;  // holders, and lists that continue this one
  };

  Pool<Node> nodes_;
};

}  // namespace sparrot
