// Plain C++ for any processor: what runs where nothing faster is known, and what the others are
// compared with.
#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/kernels.h"
#include "kernels/tables.h"

namespace sparrot {
namespace {

// How the weights of a type and their packed inputs are read, and what they are summed in.
struct Float32 {
  using Weight = float;
  using Input = float;
  using Sum = float;
  static constexpr std::size_t kColumns = 1;
  static float Value(float w) { return w; }
  static float Packed(float x, float) { return x; }
};

struct BFloat16 {
  using Weight = std::uint16_t;
  using Input = std::uint16_t;
  using Sum = float;
  static constexpr std::size_t kColumns = 2;
  static float Value(std::uint16_t w) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(w) << 16);
  }
  // Rounded half to even. A NaN stays one: its mantissa is cut off, and one of its bits set.
  static std::uint16_t Packed(float x, float) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    if (std::isnan(x)) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
    return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
};

struct Int8 {
  using Weight = std::int8_t;
  using Input = std::int8_t;
  using Sum = std::int32_t;
  static constexpr std::size_t kColumns = 4;
  static std::int32_t Value(std::int8_t w) { return w; }
  static std::int8_t Packed(float x, float inverse_scale) {
    const float scaled = x * inverse_scale;
    const float above = scaled > -127.0F ? scaled : -127.0F;  // of NaN too
    return static_cast<std::int8_t>(std::nearbyint(std::min(above, 127.0F)));
  }
};

std::size_t RoundUp(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

template <class Type, bool kWide>
void Pack(const float* x, std::size_t x_stride, std::size_t n_columns, std::size_t n_streams,
          const float* inverse_scales, void* packed, std::size_t stride) {
  auto* to = static_cast<typename Type::Input*>(packed);
  const std::size_t columns = RoundUp(n_columns, kColumnMultiple);
  std::fill(to, to + columns * stride, typename Type::Input{0});
  for (std::size_t c = 0; c < n_columns; ++c) {
    for (std::size_t b = 0; b < n_streams; ++b) {
      const float scale = inverse_scales == nullptr ? 1.0F : inverse_scales[b];
      to[c * stride + b] = Type::Packed(kWide ? x[c * x_stride + b] : x[b * x_stride + c], scale);
    }
  }
}

// Calls visit(column, weight) for every weight of a row, in stored order.
template <class Type, class Visit>
void VisitRow(const Piece& piece, std::size_t row, const Visit& visit) {
  constexpr std::size_t kColumns = Type::kColumns;
  const auto* values = static_cast<const typename Type::Weight*>(piece.values);
  const std::size_t strip = row / 16, lane = row % 16;
  switch (piece.layout) {
    case Layout::kStrip16:
      for (std::size_t g = piece.starts[strip]; g < piece.starts[strip + 1]; ++g) {
        for (std::size_t j = 0; j < kColumns; ++j) {
          visit(piece.columns[g * kColumns + j], values[(g * 16 + lane) * kColumns + j]);
        }
      }
      return;
    case Layout::kDense16: {
      const std::size_t groups = (piece.n_columns + kColumns - 1) / kColumns;
      for (std::size_t c = 0; c < piece.n_columns; ++c) {
        const std::size_t group = strip * groups + c / kColumns;
        visit(c, values[(group * 16 + lane) * kColumns + c % kColumns]);
      }
      return;
    }
    case Layout::kTile4:
    case Layout::kTile8: {
      const std::size_t size = piece.layout == Layout::kTile4 ? 4 : 8;
      for (std::size_t i = piece.starts[row / size]; i < piece.starts[row / size + 1]; ++i) {
        for (std::size_t j = 0; j < size; ++j) {
          visit(piece.columns[i] * size + j, values[(i * size + row % size) * size + j]);
        }
      }
      return;
    }
    case Layout::kCsr:
      for (std::size_t i = piece.starts[row]; i < piece.starts[row + 1]; ++i) {
        visit(piece.columns[i], values[i]);
      }
  }
}

template <class Type>
void MultiplyRows(const Piece& piece, std::size_t first, std::size_t last, const void* x,
                  std::size_t stride, void* y, std::size_t y_stride, std::size_t n) {
  const auto* input = static_cast<const typename Type::Input*>(x);
  auto* output = static_cast<typename Type::Sum*>(y);
  for (std::size_t row = 16 * first; row < 16 * last; ++row) {
    for (std::size_t b = 0; b < n; ++b) {
      typename Type::Sum sum{0};
      VisitRow<Type>(piece, row, [&](std::size_t column, auto weight) {
        sum += Type::Value(weight) * Type::Value(input[column * stride + b]);
      });
      output[b * y_stride + row] += sum;
    }
  }
}

template <class Type>
void MultiplyWide(const Piece& piece, std::size_t first, std::size_t last, const void* x,
                  std::size_t stride, void* y, std::size_t y_stride, std::size_t n) {
  constexpr std::size_t kStreams = 16;
  const auto* input = static_cast<const typename Type::Input*>(x);
  auto* output = static_cast<typename Type::Sum*>(y);
  for (std::size_t row = 16 * first; row < 16 * last; ++row) {
    for (std::size_t b = 0; b < n; b += kStreams) {
      typename Type::Sum sums[kStreams] = {};
      VisitRow<Type>(piece, row, [&](std::size_t column, auto weight) {
        const auto* streams = input + column * stride + b;
        for (std::size_t i = 0; i < kStreams; ++i) sums[i] += Type::Value(weight) * Type::Value(streams[i]);
      });
      for (std::size_t i = 0; i < kStreams; ++i) output[row * y_stride + b + i] += sums[i];
    }
  }
}

float MaxAbs(const float* x, std::size_t n) {
  float largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i]));  // NaN is passed over
  return largest;
}

void AddScaledRows(const std::int32_t* sums, const float* row_scales, float x_scale, float* y,
                   std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += static_cast<float>(sums[i]) * (row_scales[i] * x_scale);
}

void AddScaledWide(const std::int32_t* sums, std::size_t sums_stride, const float* row_scales,
                   const float* x_scales, float* y, std::size_t y_stride, std::size_t rows,
                   std::size_t n) {
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t b = 0; b < n; ++b) {
      const auto sum = static_cast<float>(sums[i * sums_stride + b]);
      y[i * y_stride + b] += sum * (row_scales[i] * x_scales[b]);
    }
  }
}

void FillWide(const void* values, void* to, std::size_t to_stride, std::size_t rows, std::size_t n) {
  const auto* const words = static_cast<const std::uint32_t*>(values);
  for (std::size_t i = 0; i < rows; ++i) std::fill_n(static_cast<std::uint32_t*>(to) + i * to_stride, n, words[i]);
}

void Transpose(const float* from, std::size_t from_stride, std::size_t rows, std::size_t columns,
               float* to, std::size_t to_stride, std::size_t padded_rows) {
  for (std::size_t c = 0; c < columns; ++c) {
    for (std::size_t b = 0; b < rows; ++b) to[c * to_stride + b] = from[b * from_stride + c];
    std::fill(to + c * to_stride + rows, to + c * to_stride + padded_rows, 0.0F);
  }
}

float SigmoidOf(float x) { return 1.0F / (1.0F + std::exp(-x)); }

void Lstm(const float* sums, float* c, float* h, std::size_t cell_strips, std::size_t lanes) {
  for (std::size_t s = 0; s < cell_strips; ++s) {
    const float* gates = sums + s * 4 * lanes;
    for (std::size_t i = 0; i < lanes; ++i) {
      float& cell = c[s * lanes + i];
      const float input = SigmoidOf(gates[i]) * std::tanh(gates[2 * lanes + i]);
      cell = SigmoidOf(gates[lanes + i]) * cell + input;
      h[s * lanes + i] = SigmoidOf(gates[3 * lanes + i]) * std::tanh(cell);
    }
  }
}

void Gru(const float* drive, const float* product, float* h, std::size_t cell_strips,
         std::size_t lanes) {
  for (std::size_t s = 0; s < cell_strips; ++s) {
    const float *d = drive + s * 3 * lanes, *p = product + s * 3 * lanes;
    for (std::size_t i = 0; i < lanes; ++i) {
      float& state = h[s * lanes + i];
      const float reset = SigmoidOf(d[i] + p[i]);
      const float update = SigmoidOf(d[lanes + i] + p[lanes + i]);
      const float candidate = std::tanh(d[2 * lanes + i] + reset * p[2 * lanes + i]);
      state = candidate + update * (state - candidate);
    }
  }
}

void Tanh(float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] = std::tanh(x[i]);
}

void Sigmoid(float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] = SigmoidOf(x[i]);
}

void Clip(float* x, std::size_t n, float ceiling) {
  for (std::size_t i = 0; i < n; ++i) x[i] = std::min(std::max(x[i], 0.0F), ceiling);  // NaN stays
}

void Add(const float* x, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
}

void LayerNorm(const float* x, const float* scale, const float* shift, float epsilon, float* y,
               std::size_t n) {
  float sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(n);
  float squares = 0;
  for (std::size_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(n) + epsilon);
  for (std::size_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * inverse * scale[i] + shift[i];
}

}  // namespace

const Kernels kScalarKernels{
    .name = "scalar",
    .input_offset = 0,
    .max_abs = MaxAbs,
    .pack_rows = {Pack<Float32, false>, Pack<BFloat16, false>, Pack<Int8, false>},
    .pack_wide = {Pack<Float32, true>, Pack<BFloat16, true>, Pack<Int8, true>},
    .multiply_rows = {MultiplyRows<Float32>, MultiplyRows<BFloat16>, MultiplyRows<Int8>},
    .multiply_wide = {MultiplyWide<Float32>, MultiplyWide<BFloat16>, MultiplyWide<Int8>},
    .add_scaled_rows = AddScaledRows,
    .add_scaled_wide = AddScaledWide,
    .fill_wide = FillWide,
    .transpose = Transpose,
    .lstm = Lstm,
    .gru = Gru,
    .tanh = Tanh,
    .sigmoid = Sigmoid,
    .clip = Clip,
    .add = Add,
    .layer_norm = LayerNorm,
};

}  // namespace sparrot
