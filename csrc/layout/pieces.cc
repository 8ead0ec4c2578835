#include "layout/pieces.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace sparrot {
namespace {

constexpr std::size_t kLine = 64;  // bytes; every array is whole lines

[[noreturn]] void Refuse(const std::string& sentence) { throw std::invalid_argument(sentence); }

std::string Text(std::size_t n) { return std::to_string(n); }

std::size_t RoundUp(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// What one entry of `starts` counts, and how the weights of one such unit lie: [rows][width].
struct Units {
  const char* row_name;  // what has an entry of `starts`
  const char* name;
  std::size_t rows;
  std::size_t width;
  std::size_t indices;  // entries of `columns` that a unit has: `width`, or 1 for the whole of it

  std::size_t Weights() const { return rows * width; }
};

Units UnitsOf(Layout layout, WeightType type) {
  const std::size_t columns = ColumnsPerGroup(type);
  switch (layout) {
    case Layout::kStrip16: return {"strip", "group", 16, columns, columns};
    case Layout::kDense16: return {"strip", "group", 16, columns, 0};
    case Layout::kTile4: return {"tile row", "tile", 4, 4, 1};
    case Layout::kTile8: return {"tile row", "tile", 8, 8, 1};
    case Layout::kCsr: return {"row", "weight", 1, 1, 1};
  }
  Refuse("layout " + Text(static_cast<std::size_t>(layout)) + " is unknown");
}

std::size_t BytesOfWeight(WeightType type) { return 4 / ColumnsPerGroup(type); }

void CheckShape(const MatrixShape& shape) {
  if (shape.gates == 0 || shape.rows % shape.gates != 0 || shape.columns > 65536) {
    Refuse("a matrix of " + Text(shape.rows) + " rows in " + Text(shape.gates) + " gates and " +
           Text(shape.columns) + " columns has no strips");
  }
}

void CheckLength(const char* array, std::size_t length, const Units& units, std::size_t n,
                 std::size_t needed) {
  if (length == needed) return;
  std::string sentence = "`";  // piecewise: g++ 12 warns of literals in front of strings
  sentence.append(array).append("` has ").append(Text(length)).append(" entries; ").append(Text(n));
  Refuse(sentence + " " + (array[0] == 's' ? units.row_name : units.name) + "s need " + Text(needed));
}

// The number of units.
std::size_t CheckStarts(std::span<const std::uint32_t> starts, const Units& units, std::size_t rows) {
  CheckLength("starts", starts.size(), units, rows, RoundUp(rows + 1, kLine / sizeof starts[0]));
  if (starts.front() != 0) Refuse("`starts` begins with " + Text(starts.front()) + ", not 0");
  for (std::size_t i = 0; i < rows; ++i) {
    if (starts[i] > starts[i + 1]) {
      Refuse("`starts` falls from " + Text(starts[i]) + " to " + Text(starts[i + 1]) + " at " +
             units.row_name + " " + Text(i));
    }
  }
  const std::size_t n = starts[rows];
  for (const std::size_t entry : starts.subspan(rows)) {
    if (entry == n) continue;
    Refuse("`starts` ends with " + Text(entry) + " after its " + Text(n) + " " + units.name + "s");
  }
  return n;
}

// Whether the columns of a row are in range and rise; in a group, all after its first may repeat the one before.
// Without a branch, so that it is done for many columns at a time.
bool AreColumns(std::span<const std::uint16_t> columns, std::size_t indices, std::size_t end) {
  bool is_wrong = false;
  for (const std::size_t column : columns) is_wrong |= column >= end;
  for (std::size_t i = 1; i < columns.size(); ++i) is_wrong |= columns[i] < columns[i - 1];
  for (std::size_t i = indices; i < columns.size(); i += indices) is_wrong |= columns[i] == columns[i - 1];
  return !is_wrong;
}

void CheckColumns(const PieceArrays& arrays, const Units& units, std::size_t rows,
                  std::size_t n_columns) {
  const auto& [layout, type, starts, columns, values] = arrays;
  const std::size_t n = starts[rows] * units.indices;
  CheckLength("columns", columns.size(), units, starts[rows], RoundUp(n, kLine / sizeof columns[0]));
  const std::size_t span = units.width / units.indices;  // columns that one index names
  const std::size_t end = (n_columns + span - 1) / span;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t begin = starts[row] * units.indices, past = starts[row + 1] * units.indices;
    if (AreColumns(columns.subspan(begin, past - begin), units.indices, end)) continue;
    for (std::size_t i = begin; i < past; ++i) {
      const std::string where = std::string(" at ") + units.name + " " + Text(i / units.indices);
      if (columns[i] >= end) {
        Refuse("`columns` holds " + Text(columns[i]) + where + ", out of range for a matrix of " +
               Text(n_columns) + " columns");
      }
      const bool may_repeat = i % units.indices != 0;
      if (i > begin && columns[i] < columns[i - 1] + (may_repeat ? 0 : 1)) {
        Refuse("`columns` does not rise" + where + ", inside " + units.row_name + " " + Text(row));
      }
    }
  }
  if (std::any_of(columns.begin() + static_cast<std::ptrdiff_t>(n), columns.end(),
                  [](std::uint16_t column) { return column != 0; })) {
    Refuse("`columns` is not zero past its last " + std::string(units.name));
  }
}

// Padding is zero to the bit: −0 is none.
bool IsZero(float w) { return std::bit_cast<std::uint32_t>(w) == 0; }
bool IsZero(std::uint16_t w) { return w == 0; }
bool IsZero(std::int8_t w) { return w == 0; }

bool IsAllowed(float w) { return (std::bit_cast<std::uint32_t>(w) & 0x7f800000) != 0x7f800000; }
bool IsAllowed(std::uint16_t w) { return (w & 0x7f80) != 0x7f80; }
bool IsAllowed(std::int8_t w) { return w != -128; }

template <class Weight>
class Values {
 public:
  Values(const PieceArrays& arrays, const Units& units, const MatrixShape& shape)
      : arrays_(arrays),
        units_(units),
        shape_(shape),
        weights_(reinterpret_cast<const Weight*>(arrays.values.data()),
                 arrays.values.size() / sizeof(Weight)) {}

  void Check(std::size_t n, Finiteness finiteness) const {
    const bool is_code = sizeof(Weight) == 1;
    if (is_code || finiteness == Finiteness::kChecked) CheckAllowed();
    CheckZero(n * units_.Weights(), weights_.size(), "`values` is not zero past its last ");
    const std::size_t rows = shape_.Strips() * 16 / units_.rows;
    const std::size_t dense = rows == 0 ? 0 : n / rows;  // units of a row, if all have as many
    for (std::size_t row = 0; row < rows; ++row) {
      const bool is_dense = arrays_.layout == Layout::kDense16;
      const std::size_t begin = is_dense ? row * dense : arrays_.starts[row];
      const std::size_t end = is_dense ? begin + dense : arrays_.starts[row + 1];
      if (IsWithoutPadding(row, begin, end)) continue;
      for (std::size_t unit = begin; unit < end; ++unit) CheckUnit(row, unit, unit - begin);
    }
  }

 private:
  void CheckAllowed() const {
    constexpr std::size_t kBlock = 4096;  // looked at together, without a branch
    for (std::size_t begin = 0; begin < weights_.size(); begin += kBlock) {
      const auto block = weights_.subspan(begin, std::min(kBlock, weights_.size() - begin));
      bool is_wrong = false;
      for (const Weight w : block) is_wrong |= !IsAllowed(w);
      if (!is_wrong) continue;
      const auto found = std::find_if_not(block.begin(), block.end(), [](Weight w) { return IsAllowed(w); });
      const std::size_t unit = (begin + static_cast<std::size_t>(found - block.begin())) / units_.Weights();
      Refuse("a weight of " + std::string(units_.name) + " " + Text(unit) +
             (sizeof(Weight) == 1 ? " is −128" : " is not finite"));
    }
  }

  // Whether all rows and columns of a row's units are the matrix's own, as nearly always.
  bool IsWithoutPadding(std::size_t row, std::size_t begin, std::size_t end) const {
    if (arrays_.layout != Layout::kStrip16 || LiveRows(row) < units_.rows) return false;
    const std::size_t n = (end - begin) * units_.indices;
    const auto columns = arrays_.columns.subspan(begin * units_.indices, n);
    bool repeats = false;
    for (std::size_t i = 1; i < columns.size(); ++i) repeats |= columns[i] == columns[i - 1];
    return !repeats;
  }

  void CheckZero(std::size_t begin, std::size_t end, const std::string& what) const {
    for (std::size_t i = begin; i < end; ++i) {
      if (!IsZero(weights_[i])) Refuse(what + units_.name);
    }
  }

  void CheckUnit(std::size_t row, std::size_t unit, std::size_t place) const {
    const std::size_t begin = unit * units_.Weights();
    const std::size_t live = LiveRows(row), wide = LiveWidth(unit, place);
    CheckZero(begin + live * units_.width, begin + units_.Weights(),
              "a row of padding has a weight in a ");
    for (std::size_t r = 0; wide < units_.width && r < live; ++r) {
      CheckZero(begin + r * units_.width + wide, begin + (r + 1) * units_.width,
                "a column of padding has a weight in a ");
    }
  }

  // Rows of the unit that the matrix has.
  std::size_t LiveRows(std::size_t row) const {
    const std::size_t first = row * units_.rows, cell_strip = first / 16 / shape_.gates;
    const std::size_t before = cell_strip * 16 + first % 16;
    return std::min(units_.rows, shape_.RowsPerGate() - std::min(before, shape_.RowsPerGate()));
  }

  // Columns of the unit that the matrix has, and that are not repeated.
  std::size_t LiveWidth(std::size_t unit, std::size_t place) const {
    if (arrays_.layout == Layout::kStrip16) {
      const auto columns = arrays_.columns.subspan(unit * units_.indices, units_.indices);
      std::size_t n = 1;
      while (n < columns.size() && columns[n] > columns[n - 1]) ++n;
      return n;
    }
    const std::size_t index = arrays_.layout == Layout::kDense16 ? place : arrays_.columns[unit];
    return std::min(units_.width, shape_.columns - index * units_.width);
  }

  const PieceArrays& arrays_;
  const Units& units_;
  const MatrixShape& shape_;
  std::span<const Weight> weights_;
};

float ValueAt(const Piece& piece, std::size_t i) {
  switch (piece.type) {
    case WeightType::kFloat32: return static_cast<const float*>(piece.values)[i];
    case WeightType::kBFloat16: {
      const std::uint32_t bits = static_cast<const std::uint16_t*>(piece.values)[i];
      return std::bit_cast<float>(bits << 16);
    }
    case WeightType::kInt8: return static_cast<const std::int8_t*>(piece.values)[i];
  }
  return 0.0F;
}

}  // namespace

Piece CheckPiece(const PieceArrays& arrays, const MatrixShape& shape, Finiteness finiteness) {
  CheckShape(shape);
  const Units units = UnitsOf(arrays.layout, arrays.type);
  const std::size_t rows = shape.Strips() * 16 / units.rows;
  std::size_t n = rows * ((shape.columns + units.width - 1) / units.width);
  if (arrays.layout == Layout::kDense16) {
    CheckLength("starts", arrays.starts.size(), units, rows, 0);
    CheckLength("columns", arrays.columns.size(), units, n, 0);
  } else {
    n = CheckStarts(arrays.starts, units, rows);
    CheckColumns(arrays, units, rows, shape.columns);
  }
  const std::size_t weight = BytesOfWeight(arrays.type);
  CheckLength("values", arrays.values.size() / weight, units, n,
              RoundUp(n * units.Weights() * weight, kLine) / weight);
  if (reinterpret_cast<std::uintptr_t>(arrays.values.data()) % kLine != 0) {
    Refuse("`values` does not begin at a multiple of 64 bytes");
  }
  switch (arrays.type) {
    case WeightType::kFloat32: Values<float>(arrays, units, shape).Check(n, finiteness); break;
    case WeightType::kBFloat16: Values<std::uint16_t>(arrays, units, shape).Check(n, finiteness); break;
    case WeightType::kInt8: Values<std::int8_t>(arrays, units, shape).Check(n, finiteness); break;
  }
  return {arrays.layout,        arrays.type,           shape.Strips(),      shape.columns,
          arrays.starts.data(), arrays.columns.data(), arrays.values.data()};
}

void AddRow(const Piece& piece, std::size_t strip, std::size_t lane, float* to) {
  const Units units = UnitsOf(piece.layout, piece.type);
  const std::size_t row = (strip * 16 + lane) / units.rows, inside = lane % units.rows;
  const bool is_dense = piece.layout == Layout::kDense16;
  const std::size_t dense = (piece.n_columns + units.width - 1) / units.width;
  const std::size_t begin = is_dense ? row * dense : piece.starts[row];
  const std::size_t end = is_dense ? begin + dense : piece.starts[row + 1];
  const std::size_t span = is_dense ? 0 : units.width / units.indices;  // columns that one index names
  for (std::size_t unit = begin; unit < end; ++unit) {
    for (std::size_t j = 0; j < units.width; ++j) {
      const std::size_t column =
          is_dense ? (unit - begin) * units.width + j
                   : piece.columns[unit * units.indices + j / span] * span + j % span;
      if (column >= piece.n_columns) break;  // padding
      to[column] += ValueAt(piece, unit * units.Weights() + inside * units.width + j);
    }
  }
}

Piece StripsOf(const Piece& piece, std::size_t first, std::size_t last) {
  Piece part = piece;
  part.strips = last - first;
  switch (piece.layout) {
    case Layout::kStrip16: part.starts += first; break;
    case Layout::kTile4: part.starts += 4 * first; break;
    case Layout::kTile8: part.starts += 2 * first; break;
    case Layout::kCsr: part.starts += 16 * first; break;
    case Layout::kDense16: {
      const std::size_t columns = ColumnsPerGroup(piece.type);
      const std::size_t bytes = first * ((piece.n_columns + columns - 1) / columns) * kLine;
      part.values = static_cast<const std::byte*>(piece.values) + bytes;
      break;
    }
  }
  return part;
}

void AddRowSums(const Piece& piece, std::span<std::int32_t> sums) {
  const Units units = UnitsOf(piece.layout, piece.type);
  const auto* const weights = static_cast<const std::int8_t*>(piece.values);
  const std::size_t dense = (piece.n_columns + units.width - 1) / units.width;
  const bool is_dense = piece.layout == Layout::kDense16;
  for (std::size_t row = 0; row < piece.strips * 16 / units.rows; ++row) {
    const std::size_t begin = is_dense ? row * dense : piece.starts[row];
    const std::size_t end = is_dense ? begin + dense : piece.starts[row + 1];
    std::array<std::int32_t, 64> unit_sums{};  // of the weights at one place of all units
    for (std::size_t unit = begin; unit < end; ++unit) {
      const std::int8_t* const first = weights + unit * units.Weights();
      for (std::size_t i = 0; i < units.Weights(); ++i) unit_sums[i] += first[i];
    }
    for (std::size_t i = 0; i < units.Weights(); ++i) sums[row * units.rows + i / units.width] += unit_sums[i];
  }
}

}  // namespace sparrot
