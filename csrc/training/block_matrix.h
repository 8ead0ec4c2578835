// A weight matrix of which some blocks are kept, as training computes with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.h"

namespace sparrot {

// A matrix (rows, columns), row-major; its rows are `gates` groups of equal size. Each gate is padded to whole strips
// of 16 rows, and gates lie one after the other. (In a model file they take turns.)
struct GatedShape {
  std::size_t rows;
  std::size_t columns;
  std::size_t gates;

  std::size_t PaddedPerGate() const;
  std::size_t PaddedRows() const { return gates * PaddedPerGate(); }
};

// Which blocks are kept, each one column of a strip. Their values are packed apart, since they change more often:
// [blocks][16], strip after strip, columns rising, zeros in rows that a gate does not have.
class BlockMatrix {
 public:
  // kept: [strips][columns]. Throws std::invalid_argument if gates are not equal, or if there are more columns than
  // 16 bits tell apart.
  BlockMatrix(GatedShape shape, const bool* kept);

  const GatedShape& shape() const { return shape_; }
  std::size_t n_values() const;

  // The matrix with these values, at a multiple of 64 bytes, as kernels read it.
  Piece With(const float* values) const;

  // values ← the kept blocks of a matrix.
  void Pack(const float* matrix, float* values) const;

  // The kept blocks of a matrix ← values; the others stay.
  void Unpack(const float* values, float* matrix) const;

 private:
  template <class Move>
  void ForRows(const Move& move) const;

  GatedShape shape_;
  std::vector<std::uint32_t> starts_;
  std::vector<std::uint16_t> columns_;
};

}  // namespace sparrot
