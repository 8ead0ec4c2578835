#include "language/arpa.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace sparrot {
namespace {

constexpr float kNever = -100.0F;  // log10 p of words without an `<unk>`

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

// The lines of a text, without what ends them.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}

  // Whether there is one more line.
  bool Next() {
    if (rest_.empty()) return false;
    const std::size_t end = std::min(rest_.find('\n'), rest_.size());
    line_ = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    while (!line_.empty() && (IsBlank(line_.back()) || line_.back() == '\r')) line_.remove_suffix(1);
    while (!line_.empty() && IsBlank(line_.front())) line_.remove_prefix(1);
    ++number_;
    return true;
  }

  // The same, of lines that are not empty; the text must go on.
  void Need() {
    do {
      if (!Next()) throw std::invalid_argument("it breaks off: there is no line `\\end\\`");
    } while (line_.empty());
  }

  std::string_view line() const { return line_; }
  std::uint32_t number() const { return number_; }

  [[noreturn]] void Refuse(const std::string& why) const {
    throw std::invalid_argument("line " + std::to_string(number_) + ": " + why);
  }

 private:
  std::string_view rest_, line_;
  std::uint32_t number_ = 0;
};

// The fields of a line, as many as there is room for and one more where there are too many.
std::size_t Split(std::string_view line, std::span<std::string_view> fields) {
  std::size_t n = 0;
  while (!line.empty() && n < fields.size()) {
    const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
    fields[n++] = line.substr(0, end);
    line.remove_prefix(end);
    while (!line.empty() && IsBlank(line.front())) line.remove_prefix(1);
  }
  return line.empty() ? n : n + 1;
}

class ArpaReader {
 public:
  explicit ArpaReader(std::string_view text) : lines_(text), n_left_(text.size()) {}

  std::shared_ptr<Ngram> Read() {
    ReadCounts();
    for (std::size_t order = 1; order <= counts_.size(); ++order) ReadSection(order);
    if (lines_.line() != "\\end\\") {
      lines_.Refuse("there must be `\\end\\` after the n-grams; got `" + Shown(lines_.line()) + "`");
    }
    return std::make_shared<Ngram>(Vocabulary(std::move(words_)), std::move(tree_));
  }

 private:
  // Of a line or field, no more than fits a sentence.
  static std::string Shown(std::string_view text) { return std::string(text.substr(0, 60)); }

  // From `\data\` to the line after the last count.
  void ReadCounts() {
    while (lines_.Next() && lines_.line() != "\\data\\") {
    }
    if (lines_.line() != "\\data\\") {
      throw std::invalid_argument("it is no ARPA file: there is no line `\\data\\`");
    }
    for (lines_.Need(); lines_.line().starts_with("ngram"); lines_.Need()) ReadCount();
    if (highest_ == 0) lines_.Refuse("the header before this line promises no n-grams");
  }

  // `ngram 2=15`, with or without spaces around each part.
  void ReadCount() {
    std::string text(lines_.line().substr(5));
    text.erase(std::remove_if(text.begin(), text.end(), IsBlank), text.end());
    std::size_t order = 0, count = 0;
    const char* const end = text.data() + text.size();
    const auto equals = std::from_chars(text.data(), end, order);
    if (equals.ec != std::errc() || equals.ptr == end || *equals.ptr != '=' ||
        order != counts_.size() + 1) {
      lines_.Refuse("the header must go on with `ngram " + std::to_string(counts_.size() + 1) +
                    "=`; got `" + Shown(lines_.line()) + "`");
    }
    const auto number = std::from_chars(equals.ptr + 1, end, count);
    if (number.ec != std::errc() || number.ptr != end) {
      lines_.Refuse("a count is a whole number; got `" + Shown(lines_.line()) + "`");
    }
    counts_.push_back(count);
    if (count > 0) highest_ = order;
  }

  // From the heading of a section to the heading after it. An empty section may be left out.
  void ReadSection(std::size_t order) {
    const std::string name = std::to_string(order) + "-grams";
    if (lines_.line() != "\\" + name + ":") {
      if (counts_[order - 1] == 0) return;
      lines_.Refuse("the section `\\" + name + ":` must begin here; got `" +
                    Shown(lines_.line()) + "`");
    }
    std::vector<NgramTree::Entry> entries;
    entries.reserve(std::min(counts_[order - 1], n_left_ / 4));  // a line has 4 bytes at least
    for (lines_.Need(); !IsHeading(); lines_.Need()) entries.push_back(ReadEntry(order));
    if (entries.size() != counts_[order - 1]) {
      lines_.Refuse("the header promises " + std::to_string(counts_[order - 1]) + " " + name +
                    ", and " + std::to_string(entries.size()) + " are listed");
    }
    if (order == 1 && !numbers_.contains("<unk>") && !numbers_.contains("<UNK>")) {
      entries.push_back({NgramTree::kRoot, static_cast<Word>(words_.size()), kNever, 0.0F, 0});
      words_.emplace_back("<unk>");
    }
    if (!entries.empty()) tree_.AddOrder(std::move(entries));
  }

  // `\2-grams:` or `\end\`, while a word that begins with a backslash comes after a number.
  bool IsHeading() const { return lines_.line().front() == '\\'; }

  // log10 p, the words, and log10 b where there is one.
  NgramTree::Entry ReadEntry(std::size_t order) {
    fields_.resize(order + 2);
    const std::size_t n = Split(lines_.line(), fields_);
    if (n != order + 1 && n != order + 2) {
      lines_.Refuse("a " + std::to_string(order) + "-gram has " + std::to_string(order + 1) +
                    " fields, or one more; got `" + Shown(lines_.line()) + "`");
    }
    const float log_prob = Number(fields_[0]);
    if (log_prob > 0.0F) lines_.Refuse("`" + Shown(fields_[0]) + "` is a probability over 1");
    const float log_backoff = n == order + 2 ? Number(fields_[n - 1]) : 0.0F;
    if (order == highest_ && log_backoff != 0.0F) {
      lines_.Refuse("an n-gram of the highest order has no back-off weight; got `" +
                    Shown(lines_.line()) + "`");
    }
    const auto words = std::span(fields_).subspan(1, order);
    const NgramTree::Node context = Context(words.first(order - 1));
    const Word word = order == 1 ? NewWord(words.back()) : NumberOf(words.back());
    return {context, word, log_prob, log_backoff, lines_.number()};
  }

  float Number(std::string_view field) const {
    double value = 0.0;
    const char* const end = field.data() + field.size();
    const auto [parsed, error] = std::from_chars(field.data(), end, value);
    const auto number = static_cast<float>(value);
    if (parsed != end || error != std::errc() || !std::isfinite(number)) {
      lines_.Refuse("`" + Shown(field) + "` is no finite number");
    }
    return number;
  }

  Word NewWord(std::string_view word) {
    const auto [found, is_new] = numbers_.try_emplace(word, static_cast<Word>(words_.size()));
    if (!is_new) lines_.Refuse("the word `" + Shown(word) + "` is listed twice");
    words_.emplace_back(word);
    return found->second;
  }

  Word NumberOf(std::string_view word) const {
    const auto found = numbers_.find(word);
    if (found == numbers_.end()) {
      lines_.Refuse("the word `" + Shown(word) + "` is not among the 1-grams");
    }
    return found->second;
  }

  NgramTree::Node Context(std::span<const std::string_view> words) const {
    NgramTree::Node node = NgramTree::kRoot;
    for (const std::string_view word : words) {
      node = tree_.Child(node, NumberOf(word));
      if (node == NgramTree::kNone) {
        lines_.Refuse("the context of this n-gram, its first " + std::to_string(words.size()) +
                      " words, is not listed");
      }
    }
    return node;
  }

  Lines lines_;
  std::size_t n_left_;
  std::vector<std::size_t> counts_;  // of n-grams, by their order
  std::size_t highest_ = 0;          // order that has n-grams
  std::vector<std::string_view> fields_;
  std::unordered_map<std::string_view, Word> numbers_;
  std::vector<std::string> words_;
  NgramTree tree_;
};

}  // namespace

std::shared_ptr<Ngram> ReadArpa(std::string_view text) { return ArpaReader(text).Read(); }

}  // namespace sparrot
