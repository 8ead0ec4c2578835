#include "language/vocabulary.h"

#include <initializer_list>
#include <stdexcept>
#include <utility>

namespace sparrot {
namespace {

Word FirstOf(const ByteTrie& trie, std::initializer_list<const char*> names) {
  for (const char* const name : names) {
    const ByteTrie::Node node = trie.Find(name);
    const auto word = node == ByteTrie::kNone ? ByteTrie::kNone : trie.TextAt(node);
    if (word != ByteTrie::kNone) return word;
  }
  throw std::invalid_argument(std::string("`") + *names.begin() + "` is not among its words");
}

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> words)
    : words_(std::move(words)),
      trie_(words_),
      begin_(FirstOf(trie_, {"<s>"})),
      end_(FirstOf(trie_, {"</s>"})),
      unknown_(FirstOf(trie_, {"<unk>", "<UNK>"})) {}

}  // namespace sparrot
