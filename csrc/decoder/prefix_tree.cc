#include "decoder/prefix_tree.h"

#include <algorithm>

namespace sparrot {

PrefixTree::Prefix PrefixTree::HoldChild(Prefix prefix, std::int32_t token) {
  const Prefix found = FindChild(prefix, token);
  if (found != kNone) return Hold(found);
  const Node& parent = nodes_[prefix];
  const Prefix child =
      nodes_.Add({token, parent.depth + 1, prefix, kNone, parent.first_child, 1, kNotKept});
  nodes_[prefix].first_child = child;
  ++nodes_[prefix].n_users;
  return child;
}

PrefixTree::Prefix PrefixTree::Hold(Prefix prefix) {
  ++nodes_[prefix].n_users;
  return prefix;
}

void PrefixTree::Release(Prefix prefix) {
  while (--nodes_[prefix].n_users == 0) {
    const Prefix parent = nodes_[prefix].parent;
    Unlink(prefix);
    nodes_.Remove(prefix);
    prefix = parent;
  }
}

PrefixTree::Prefix PrefixTree::FindChild(Prefix prefix, std::int32_t token) const {
  Prefix child = nodes_[prefix].first_child;
  while (child != kNone && nodes_[child].token != token) child = nodes_[child].next_sibling;
  return child;
}

PrefixTree::Prefix PrefixTree::Cut(Prefix prefix, std::size_t depth) const {
  while (nodes_[prefix].depth > depth) prefix = nodes_[prefix].parent;
  return prefix;
}

std::size_t PrefixTree::SharedDepth(std::span<const Prefix> prefixes) const {
  Prefix shared = prefixes.front();
  for (Prefix prefix : prefixes) {
    prefix = Cut(prefix, Depth(shared));
    shared = Cut(shared, Depth(prefix));
    while (prefix != shared) {
      prefix = Parent(prefix);
      shared = Parent(shared);
    }
  }
  return Depth(shared);
}

void PrefixTree::Clear() {
  nodes_.Clear();
  nodes_.Add({kBlank, 0, kNone, kNone, kNone, 1, kNotKept});  // its one user is the tree
}

void PrefixTree::Unlink(Prefix prefix) {
  Prefix* link = &nodes_[nodes_[prefix].parent].first_child;
  while (*link != prefix) link = &nodes_[*link].next_sibling;
  *link = nodes_[prefix].next_sibling;
}

}  // namespace sparrot
