#include "decoder/hit_lists.h"

#include <algorithm>

namespace sparrot {

HitLists::List HitLists::Add(const TokenHit& hit, List before) {
  return nodes_.Add({hit, Share(before), 1});
}

HitLists::List HitLists::Share(List list) {
  if (list != kEmpty) ++nodes_[list].n_users;
  return list;
}

void HitLists::Release(List list) {
  while (list != kEmpty && --nodes_[list].n_users == 0) {
    const List before = nodes_[list].before;
    nodes_.Remove(list);
    list = before;
  }
}

std::vector<TokenHit> HitLists::InOrder(List list) const {
  std::vector<TokenHit> hits;
  for (; list != kEmpty; list = Before(list)) hits.push_back(Last(list));
  std::reverse(hits.begin(), hits.end());
  return hits;
}

std::size_t HitLists::CountSince(List list, std::int64_t frame) const {
  std::size_t n = 0;
  for (; list != kEmpty && Last(list).frame >= frame; list = Before(list)) ++n;
  return n;
}

}  // namespace sparrot
