#include "training/block_matrix.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "layout/strips.h"
#include "network/workspace.h"

namespace sparrot {
namespace {

constexpr std::size_t kMostColumns = 1 << 16;

GatedShape Checked(const GatedShape& shape) {
  if (shape.gates == 0 || shape.rows == 0 || shape.rows % shape.gates != 0) {
    throw std::invalid_argument(std::to_string(shape.rows) + " rows are no " + std::to_string(shape.gates) +
                                " equal gates");
  }
  if (shape.columns > kMostColumns) {
    throw std::invalid_argument("a matrix of blocks has " + std::to_string(kMostColumns) + " columns at most, not " +
                                std::to_string(shape.columns));
  }
  return shape;
}

}  // namespace

std::size_t GatedShape::PaddedPerGate() const { return RoundUp(rows / gates, kStripRows); }

BlockMatrix::BlockMatrix(GatedShape shape, const bool* kept) : shape_(Checked(shape)) {
  starts_.push_back(0);
  for (std::size_t s = 0; s < shape.PaddedRows() / kStripRows; ++s) {
    for (std::size_t c = 0; c < shape.columns; ++c) {
      if (kept[s * shape.columns + c]) columns_.push_back(static_cast<std::uint16_t>(c));
    }
    starts_.push_back(static_cast<std::uint32_t>(columns_.size()));
  }
}

std::size_t BlockMatrix::n_values() const { return columns_.size() * kStripRows; }

Piece BlockMatrix::With(const float* values) const {
  return {.layout = Layout::kStrip16,
          .type = WeightType::kFloat32,
          .strips = starts_.size() - 1,
          .n_columns = shape_.columns,
          .starts = starts_.data(),
          .columns = columns_.data(),
          .values = values};
}

// Calls move(row, first, last, lane) for every row of the matrix: its values are lane `lane` of the blocks first …
// last − 1.
template <class Move>
void BlockMatrix::ForRows(const Move& move) const {
  const std::size_t rows = shape_.rows / shape_.gates, strips = shape_.PaddedPerGate() / kStripRows;
  for (std::size_t s = 0; s + 1 < starts_.size(); ++s) {
    const std::size_t top = s % strips * kStripRows, n = std::min(kStripRows, rows - top);
    for (std::size_t lane = 0; lane < n; ++lane) {
      move(s / strips * rows + top + lane, starts_[s], starts_[s + 1], lane);
    }
  }
}

void BlockMatrix::Pack(const float* matrix, float* values) const {
  if (shape_.rows != shape_.PaddedRows()) std::fill_n(values, n_values(), 0.0F);
  ForRows([&](std::size_t row, std::size_t first, std::size_t last, std::size_t lane) {
    const float* from = matrix + row * shape_.columns;
    for (std::size_t g = first; g < last; ++g) values[kStripRows * g + lane] = from[columns_[g]];
  });
}

void BlockMatrix::Unpack(const float* values, float* matrix) const {
  ForRows([&](std::size_t row, std::size_t first, std::size_t last, std::size_t lane) {
    float* to = matrix + row * shape_.columns;
    for (std::size_t g = first; g < last; ++g) to[columns_[g]] = values[kStripRows * g + lane];
  });
}

}  // namespace sparrot
