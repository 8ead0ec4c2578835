// Rows of several levels in the order that products take them in.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "decoder/hypothesis.h"

namespace sparrot {

// Rows in the order of a product, densest level first, and how many of them use each segment.
struct Batch {
  std::vector<std::size_t> rows;
  std::vector<std::size_t> counts;
};

// All rows, `most` in a batch. Throws std::invalid_argument, with a sentence, for a level that no file has.
std::vector<Batch> Batches(std::span<const Level> levels, std::size_t most);

}  // namespace sparrot
