// Weights as they lie in a model file: strips of 16 output rows (docs/format.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sparrot {

inline constexpr std::size_t kStripRows = 16;       // rows of a strip: one 64-byte line of float32
inline constexpr std::size_t kStartsMultiple = 16;  // entries of `starts` in 64 bytes
inline constexpr std::size_t kColumnsMultiple = 32; // entries of `columns` in 64 bytes

// A matrix (rows, columns), row-major; its rows are `gates` groups of equal size.
//
// Each gate is padded to whole strips, and the gates take turns: strip s holds the rows
// 16·(s div gates) + 0…15 of gate s mod gates, row order inside a gate being the matrix's own.
struct MatrixShape {
  std::size_t rows;
  std::size_t columns;
  std::size_t gates;

  std::size_t RowsPerGate() const { return rows / gates; }
  std::size_t Strips() const { return gates * ((RowsPerGate() + kStripRows - 1) / kStripRows); }
};

// One segment of a matrix: what one level adds to the next sparser one. A view: owns nothing.
//
//   starts  [strips + 1, …]  first group of each strip; then the number of groups, repeated to a
//                            multiple of 16 entries
//   columns [groups, …]      one column a group, rising inside a strip; zeros to a multiple of 32
//   values  [groups][16]     the weights of that column in the rows of the strip; 0 in rows that
//                            the gate does not have
struct StripSegment {
  std::span<const std::uint32_t> starts;
  std::span<const std::uint16_t> columns;
  std::span<const float> values;
};

enum class Finiteness { kChecked, kTrusted };

// Throws std::invalid_argument, with a sentence, unless the segment is one of such a matrix: sizes
// that agree, `starts` monotone, columns in range and rising, padding as described. Weights that
// are NaN or infinite are refused as well when their finiteness is checked.
void CheckSegment(const StripSegment& segment, const MatrixShape& shape, Finiteness finiteness);

// matrix [rows · columns] += segment:
//
//     W[row(s, r), columns[g]] += values[g][r]   for g in starts[s] … starts[s + 1] − 1
//
// The segment must have passed CheckSegment for this shape.
void AddSegment(const StripSegment& segment, const MatrixShape& shape, std::span<float> matrix);

}  // namespace sparrot
