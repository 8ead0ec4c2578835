// What the engine computes with: one table of functions an instruction set.
//
// Arrays come in two forms. In *rows*, every stream (or frame) has a row of values, and a product's lanes
// are the 16 rows of a strip. In *wide* form, every value has a row of streams, and the lanes are streams:
// faster from 16 streams on. Strips, lanes and padding are those of docs/format.md.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sparrot {

inline constexpr std::size_t kWideStreams = 16;  // from so many streams on, wide is the faster form

enum class WeightType : std::uint8_t { kFloat32, kBFloat16, kInt8 };
inline constexpr std::size_t kWeightTypes = 3;

// Columns of one group of strip16 and dense16: a group is 16 lanes of 4 bytes, 64 bytes in all.
constexpr std::size_t ColumnsPerGroup(WeightType type) {
  return type == WeightType::kFloat32 ? 1 : type == WeightType::kBFloat16 ? 2 : 4;
}

enum class Layout : std::uint8_t { kStrip16, kDense16, kTile4, kTile8, kCsr };

// One segment of a matrix, checked before, as a product reads it. W is what it adds:
//
//   strip16  starts [strips + 1], columns [groups][C], values [groups][16][C]:
//            W[16 s + r, columns[g][j]] += values[g][r][j]       for g of strip s, j < C = ColumnsPerGroup
//   dense16  no starts, no columns; values [strips][⌈n_columns / C⌉][16][C], group g holding the columns
//            C·g … C·g + C − 1, zeros past the last
//   tile4    starts [4 strips + 1], a row of tiles each; columns [tiles], values [tiles][4][4]:
//            W[4 t + r, 4 columns[i] + j] += values[i][r][j]     for tile i of tile row t; rows before columns
//   tile8    the same with 8: starts [2 strips + 1], values [tiles][8][8]
//   csr      starts [16 strips + 1], a row each; columns [n], values [n]
//
// Rows are counted in strips: row 16 s + r is lane r of strip s. Values are float32, bfloat16 or int8 codes
// and begin at a multiple of 64 bytes.
struct Piece {
  Layout layout;
  WeightType type;
  std::size_t strips;
  std::size_t n_columns;
  const std::uint32_t* starts;
  const std::uint16_t* columns;
  const void* values;
};

// Inputs are packed before they are multiplied: [n_columns][stride], the streams of a column side by side, so
// that a weight finds its input of every stream in one or two cache lines. What a value looks like is the
// instruction set's own affair.
inline constexpr std::size_t kColumnMultiple = 16;  // packed columns: rounded up to it, with zeros

// The stride for so many streams: a power of two.
constexpr std::size_t PackedStride(std::size_t n_streams) { return std::bit_ceil(n_streams); }

// Bytes to set aside for packed inputs, at a multiple of 64.
constexpr std::size_t PackedBytes(WeightType type, std::size_t n_columns, std::size_t stride) {
  const std::size_t value = type == WeightType::kInt8 && stride > 1 ? 1 : 4;
  const std::size_t columns = (n_columns + kColumnMultiple - 1) / kColumnMultiple * kColumnMultiple;
  return (columns * stride * value + 63) / 64 * 64 + 64;  // kernels read up to a line past the end
}

inline constexpr std::int32_t kInputOffset = 128;  // makes codes unsigned

struct Kernels {
  std::string_view name;

  // What is added to the codes of packed int8 inputs, 0 or kInputOffset; sums must then start at
  // −input_offset · Σ_j W[i, j].
  std::int32_t input_offset;

  // max_i |x[i]|
  float (*max_abs)(const float* x, std::size_t n);

  // Packs n_streams ≤ stride streams; those past the last are packed as zeros. In rows, x is
  // [n_streams][x_stride], of which n_columns count; in wide form [n_columns][x_stride], of which n_streams
  // count. Either packing serves both products.
  //
  // int8: the codes are clamp(x · inverse_scales[stream], −127, 127), rounded half to even, the same on every
  // instruction set. The other types read no scales.
  using Pack = void (*)(const float* x, std::size_t x_stride, std::size_t n_columns, std::size_t n_streams,
                        const float* inverse_scales, void* packed, std::size_t stride);
  Pack pack_rows[kWeightTypes];
  Pack pack_wide[kWeightTypes];

  // y[b][16 s + r] += Σ_c W[16 s + r, c] · x[c][b]   for the strips first ≤ s < last and b < n ≤ stride
  //
  // x: packed; y: n rows of y_stride floats, of int32 for int8, each at a multiple of 64 bytes.
  // int8: exact. float32, bfloat16: a stream has the same bits whatever n and stride are.
  using Multiply = void (*)(const Piece& piece, std::size_t first, std::size_t last, const void* x,
                            std::size_t stride, void* y, std::size_t y_stride, std::size_t n);
  Multiply multiply_rows[kWeightTypes];

  // y[16 s + r][b] += Σ_c W[16 s + r, c] · x[c][b]   for the strips first ≤ s < last and b < n ≤ stride
  //
  // x: packed; y: [16 strips][y_stride] at a multiple of 64 bytes; n and y_stride are multiples of 16.
  // A stream has the same bits whatever n and stride are.
  Multiply multiply_wide[kWeightTypes];

  // y[i] += sums[i] · (row_scales[i] · x_scale)
  void (*add_scaled_rows)(const std::int32_t* sums, const float* row_scales, float x_scale, float* y,
                          std::size_t n);

  // y[i][b] += sums[i][b] · (row_scales[i] · x_scales[b])   for i < rows, b < n; strides in values
  void (*add_scaled_wide)(const std::int32_t* sums, std::size_t sums_stride, const float* row_scales,
                          const float* x_scales, float* y, std::size_t y_stride, std::size_t rows,
                          std::size_t n);

  // to[i][b] = values[i]   for i < rows, b < n, of words of four bytes; strides in words
  void (*fill_wide)(const void* values, void* to, std::size_t to_stride, std::size_t rows, std::size_t n);

  // to[c][b] = from[b][c]   for b < rows, c < columns; zeros in b from rows to padded_rows − 1
  void (*transpose)(const float* from, std::size_t from_stride, std::size_t rows, std::size_t columns,
                    float* to, std::size_t to_stride, std::size_t padded_rows);

  // One step of recurrent cells. Their pre-activations are [cell_strips][gates][lanes], their states
  // [cell_strips][lanes]; lanes = 16 in rows, 16 · streams in wide form.
  //
  // lstm: c ← σ(f) c + σ(i) tanh(g), h ← σ(o) tanh(c), from `sums` = drive + recurrent product
  // gru:  m = tanh(drive_n + σ(drive_r + product_r) · product_n), h ← m + σ(drive_z + product_z) (h − m),
  //       the candidate's recurrent bias being in product_n
  void (*lstm)(const float* sums, float* c, float* h, std::size_t cell_strips, std::size_t lanes);
  void (*gru)(const float* drive, const float* product, float* h, std::size_t cell_strips,
              std::size_t lanes);

  // In place. Absolute error of both: at most 2^-22.
  void (*tanh)(float* x, std::size_t n);
  void (*sigmoid)(float* x, std::size_t n);

  // In place: min(max(x, 0), ceiling); an infinite ceiling makes it a plain ReLU.
  void (*clip)(float* x, std::size_t n, float ceiling);

  // y[i] += x[i]
  void (*add)(const float* x, float* y, std::size_t n);

  // y = (x − mean) / √(variance + epsilon) · scale + shift over n values
  void (*layer_norm)(const float* x, const float* scale, const float* shift, float epsilon, float* y,
                     std::size_t n);
};

// The instruction sets that were compiled in and that this processor has, best first; `scalar` is always
// the last of them.
std::span<const Kernels* const> AvailableKernels();

// The one of that name. Throws std::invalid_argument, with a sentence, if it is not available.
const Kernels& NamedKernels(std::string_view name);

// The best of them, or the one that the environment variable SPARROT_ISA names; throws likewise.
const Kernels& ChosenKernels();

}  // namespace sparrot
