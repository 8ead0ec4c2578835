// The words of a language model, by number and by their letters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "language/byte_trie.h"

namespace sparrot {

using Word = std::uint32_t;

// Immutable.
class Vocabulary {
 public:
  using Letters = ByteTrie::Node;
  static constexpr Letters kNoLetters = ByteTrie::kRoot;
  static constexpr Letters kLikeNoWord = ByteTrie::kNone;

  // words: all different. Throws std::invalid_argument, with a sentence, unless `<s>`, `</s>` and
  // `<unk>` or `<UNK>`, which stands for all others, are among them.
  explicit Vocabulary(std::vector<std::string> words);

  const std::vector<std::string>& words() const { return words_; }
  std::size_t size() const { return words_.size(); }

  Word begin() const { return begin_; }
  Word end() const { return end_; }
  Word unknown() const { return unknown_; }

  // A word, or the unknown one.
  Word Find(const std::string& word) const { return WordOf(trie_.Find(word)); }

  // One more byte of a word; kLikeNoWord if no word goes on so.
  Letters Next(Letters letters, char byte) const {
    return letters == kLikeNoWord ? kLikeNoWord : trie_.Child(letters, byte);
  }

  // The word of these letters, or the unknown one.
  Word WordOf(Letters letters) const {
    const auto word = letters == kLikeNoWord ? ByteTrie::kNone : trie_.TextAt(letters);
    return word == ByteTrie::kNone ? unknown_ : word;
  }

 private:
  std::vector<std::string> words_;
  ByteTrie trie_;
  Word begin_, end_, unknown_;
};

}  // namespace sparrot
