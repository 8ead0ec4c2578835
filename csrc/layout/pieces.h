// Segments of any type and layout: from arrays that nobody has looked at to pieces that kernels trust.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/kernels.h"
#include "layout/strips.h"

namespace sparrot {

// One segment as it lies in a file. A view: owns nothing. Each array is whole lines of 64 bytes:
//
//   starts   as Piece says, then the last entry again (dense16: empty)
//   columns  as Piece says, then zeros (dense16: empty)
//   values   as Piece says, then zeros
struct PieceArrays {
  Layout layout;
  WeightType type;
  std::span<const std::uint32_t> starts;
  std::span<const std::uint16_t> columns;
  std::span<const std::byte> values;
};

// The piece that the arrays are. Throws std::invalid_argument, with a sentence, unless they are one of a
// matrix of that shape: sizes that agree, `starts` monotone, columns in range and rising (a group of
// several columns may repeat its last one), +0 in all padding, no −128 in int8, values at a multiple of
// 64 bytes. Weights that are NaN or infinite are refused as well when finiteness is checked.
Piece CheckPiece(const PieceArrays& arrays, const MatrixShape& shape, Finiteness finiteness);

// to[c] += W[16 · strip + lane, c] for c < n_columns: the values as they are stored, of int8 the codes.
// The piece has that strip.
void AddRow(const Piece& piece, std::size_t strip, std::size_t lane, float* to);

// The strips first … last − 1 of a piece, as a piece.
Piece StripsOf(const Piece& piece, std::size_t first, std::size_t last);

// sums [16 · strips] += the sum of each row's int8 weights
void AddRowSums(const Piece& piece, std::span<std::int32_t> sums);

}  // namespace sparrot
