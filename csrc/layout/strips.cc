#include "layout/strips.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>
#include <string>

namespace sparrot {
namespace {

[[noreturn]] void Refuse(const std::string& sentence) { throw std::invalid_argument(sentence); }

std::size_t RoundUp(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// Rows of the matrix that strip s holds, its first row in front; the other lanes are padding.
struct LiveRows {
  std::size_t first;
  std::size_t n;
};

LiveRows RowsOf(std::size_t strip, const MatrixShape& shape) {
  const std::size_t gate = strip % shape.gates;
  const std::size_t row_in_gate = strip / shape.gates * kStripRows;
  return {gate * shape.RowsPerGate() + row_in_gate,
          std::min(kStripRows, shape.RowsPerGate() - row_in_gate)};
}

void CheckShape(const MatrixShape& shape) {
  if (shape.rows == 0 || shape.columns == 0 || shape.gates == 0 || shape.rows % shape.gates != 0) {
    Refuse("a matrix of " + std::to_string(shape.rows) + " rows and " +
           std::to_string(shape.columns) + " columns cannot be split into " +
           std::to_string(shape.gates) + " gates of equal size");
  }
}

void CheckStarts(std::span<const std::uint32_t> starts, std::size_t strips, std::size_t groups) {
  if (starts.size() != RoundUp(strips + 1, kStartsMultiple)) {
    Refuse("`starts` has " + std::to_string(starts.size()) + " entries; " +
           std::to_string(strips) + " strips need " +
           std::to_string(RoundUp(strips + 1, kStartsMultiple)));
  }
  if (starts.front() != 0) Refuse("`starts` begins with " + std::to_string(starts.front()) + ", not 0");
  for (std::size_t s = 0; s < strips; ++s) {
    if (starts[s] > starts[s + 1]) {
      Refuse("`starts` falls from " + std::to_string(starts[s]) + " to " +
             std::to_string(starts[s + 1]) + " at strip " + std::to_string(s));
    }
  }
  for (std::size_t s = strips; s < starts.size(); ++s) {
    if (starts[s] != groups) {
      Refuse("`starts` ends with " + std::to_string(starts[s]) + " where `values` has " +
             std::to_string(groups) + " groups");
    }
  }
}

void CheckColumns(const StripSegment& segment, const MatrixShape& shape, std::size_t groups) {
  const auto& [starts, columns, values] = segment;
  if (columns.size() != RoundUp(groups, kColumnsMultiple)) {
    Refuse("`columns` has " + std::to_string(columns.size()) + " entries; " +
           std::to_string(groups) + " groups need " +
           std::to_string(RoundUp(groups, kColumnsMultiple)));
  }
  for (std::size_t s = 0; s < shape.Strips(); ++s) {
    for (std::size_t g = starts[s]; g < starts[s + 1]; ++g) {
      if (columns[g] >= shape.columns) {
        Refuse("`columns` holds " + std::to_string(columns[g]) + " at group " + std::to_string(g) +
               ", out of range for a matrix of " + std::to_string(shape.columns) + " columns");
      }
      if (g > starts[s] && columns[g] <= columns[g - 1]) {
        Refuse("`columns` does not rise at group " + std::to_string(g) + ", inside strip " +
               std::to_string(s));
      }
    }
  }
  for (std::size_t g = groups; g < columns.size(); ++g) {
    if (columns[g] != 0) Refuse("`columns` is not zero past its last group");
  }
}

void CheckValues(const StripSegment& segment, const MatrixShape& shape, Finiteness finiteness) {
  const auto& [starts, columns, values] = segment;
  for (std::size_t s = 0; s < shape.Strips(); ++s) {
    const std::size_t live = RowsOf(s, shape).n;
    for (std::size_t g = starts[s]; g < starts[s + 1]; ++g) {
      const auto group = values.subspan(g * kStripRows, kStripRows);
      if (finiteness == Finiteness::kChecked &&
          !std::all_of(group.begin(), group.end(), [](float w) { return std::isfinite(w); })) {
        Refuse("a weight of group " + std::to_string(g) + " is not finite");
      }
      if (std::any_of(group.begin() + static_cast<std::ptrdiff_t>(live), group.end(),
                      [](float w) { return std::bit_cast<std::uint32_t>(w) != 0; })) {
        Refuse("group " + std::to_string(g) + " has a weight in a row of padding");
      }
    }
  }
}

}  // namespace

void CheckSegment(const StripSegment& segment, const MatrixShape& shape, Finiteness finiteness) {
  CheckShape(shape);
  if (segment.values.size() % kStripRows != 0) {
    Refuse("`values` has " + std::to_string(segment.values.size()) +
           " entries, not whole groups of 16");
  }
  const std::size_t groups = segment.values.size() / kStripRows;
  CheckStarts(segment.starts, shape.Strips(), groups);
  CheckColumns(segment, shape, groups);
  CheckValues(segment, shape, finiteness);
}

void AddSegment(const StripSegment& segment, const MatrixShape& shape, std::span<float> matrix) {
  const auto& [starts, columns, values] = segment;
  for (std::size_t s = 0; s < shape.Strips(); ++s) {
    const LiveRows rows = RowsOf(s, shape);
    for (std::size_t r = 0; r < rows.n; ++r) {
      const auto row = matrix.subspan((rows.first + r) * shape.columns, shape.columns);
      for (std::size_t g = starts[s]; g < starts[s + 1]; ++g) row[columns[g]] += values[g * kStripRows + r];
    }
  }
}

}  // namespace sparrot
