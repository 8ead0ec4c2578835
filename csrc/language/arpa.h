// The ARPA format of n-gram models: text, a section of n-grams for each order.
#pragma once

#include <memory>
#include <string_view>

#include "language/ngram.h"

namespace sparrot {

// The model that the text of an ARPA file describes. Fields are separated by spaces or tabs, and
// what stands before `\data\` is no part of it. Without `<unk>`, words that are not listed have the
// probability 10^-100.
//
// Throws std::invalid_argument, with a sentence that begins with the line where there is one, if
// the text is none or breaks off; if counts differ from the header's; if a number is not finite, or
// a probability over 1; if an n-gram has a word or a context that is not listed, or is there twice.
std::shared_ptr<Ngram> ReadArpa(std::string_view text);

}  // namespace sparrot
