#include "network/batches.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

#include "network/matrix.h"

namespace sparrot {

std::vector<Batch> Batches(std::span<const Level> levels, std::size_t most) {
  for (const Level level : levels) {
    if (level < 0 || static_cast<std::size_t>(level) >= kMaxStops) {
      throw std::invalid_argument("a network has no level " + std::to_string(level));
    }
  }
  std::vector<std::size_t> rows(levels.size());
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  std::stable_sort(rows.begin(), rows.end(), [&](std::size_t a, std::size_t b) { return levels[a] > levels[b]; });
  std::vector<Batch> batches;
  for (const std::size_t row : rows) {
    const std::size_t n_segments = static_cast<std::size_t>(levels[row]) + 1;
    if (batches.empty() || batches.back().rows.size() == most) {
      batches.push_back({{}, std::vector<std::size_t>(n_segments)});
    }
    batches.back().rows.push_back(row);
    for (std::size_t k = 0; k < n_segments; ++k) ++batches.back().counts[k];
  }
  return batches;
}

}  // namespace sparrot
