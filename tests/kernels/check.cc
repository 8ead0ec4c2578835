// Compares every function of every instruction set that this processor has with plain sums in double.
// Prints what differs; ends with 1 if anything does. For machines without Python, and for sanitizers:
// arrays have exactly the length that is promised to the kernels.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "layout/pieces.h"

namespace {

using namespace sparrot;

constexpr double kUnit = 0x1p-24;
constexpr double kCurveBound = 0x1p-22;
const double kNan = std::numeric_limits<double>::quiet_NaN();

std::mt19937 random_bits(1);
int n_failures = 0;
int n_checks = 0;

double Uniform(double low, double high) { return std::uniform_real_distribution<double>(low, high)(random_bits); }
float Normal() { return std::normal_distribution<float>()(random_bits); }

void Expect(double got, double expected, double error, const std::string& what) {
  ++n_checks;
  const bool is_right = std::isnan(expected) ? std::isnan(got) : std::abs(got - expected) <= error;
  if (is_right) return;
  if (++n_failures < 20) {
    std::printf("%s: %.9g instead of %.9g ± %.3g\n", what.c_str(), got, expected, error);
  }
}

// Values at a multiple of 64 bytes, in whole lines, and nothing after them.
template <typename T>
class Lines {
 public:
  explicit Lines(std::size_t n) : n_(n) {
    const std::size_t bytes = std::max<std::size_t>((n * sizeof(T) + 63) / 64 * 64, 64);
    values_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
    std::fill(values_.get(), values_.get() + bytes / sizeof(T), T{});
  }
  explicit Lines(const std::vector<T>& values) : Lines(values.size()) {
    std::copy(values.begin(), values.end(), values_.get());
  }
  T* data() { return values_.get(); }
  const T* data() const { return values_.get(); }
  T& operator[](std::size_t i) { return values_.get()[i]; }
  std::size_t size() const { return n_; }

 private:
  struct Free {
    void operator()(T* values) const { std::free(values); }
  };
  std::size_t n_;
  std::unique_ptr<T, Free> values_;
};

std::vector<float> Normals(std::size_t n) {
  std::vector<float> values(n);
  std::generate(values.begin(), values.end(), Normal);
  return values;
}

float ToBFloat16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000U);
}

// A weight that the type holds exactly.
double RandomWeight(WeightType type) {
  switch (type) {
    case WeightType::kFloat32: return Normal();
    case WeightType::kBFloat16: return ToBFloat16(Normal());
    case WeightType::kInt8: return std::uniform_int_distribution<int>(-127, 127)(random_bits);
  }
  return 0;
}

struct Segment {
  Piece piece;
  std::vector<double> matrix;  // [16 strips][n_columns]
  std::unique_ptr<Lines<std::uint32_t>> starts;
  std::unique_ptr<Lines<std::uint16_t>> columns;
  std::unique_ptr<Lines<std::byte>> values;
};

std::vector<std::byte> Encoded(const std::vector<double>& weights, WeightType type) {
  std::vector<std::byte> bytes;
  const auto add = [&](auto value) {
    const auto encoded = std::bit_cast<std::array<std::byte, sizeof value>>(value);
    bytes.insert(bytes.end(), encoded.begin(), encoded.end());
  };
  for (const double w : weights) {
    const auto value = static_cast<float>(w);
    if (type == WeightType::kFloat32) add(value);
    if (type == WeightType::kBFloat16) add(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16));
    if (type == WeightType::kInt8) add(static_cast<std::int8_t>(w));
  }
  return bytes;
}

Segment RandomSegment(Layout layout, WeightType type, std::size_t strips, std::size_t n_columns,
                      double density) {
  const std::size_t group = ColumnsPerGroup(type);
  const bool is_dense = layout == Layout::kDense16, is_strip = is_dense || layout == Layout::kStrip16;
  const std::size_t side = layout == Layout::kTile4 ? 4 : layout == Layout::kTile8 ? 8 : 1;
  const std::size_t height = is_strip ? 16 : side;
  Segment segment;
  segment.matrix.resize(16 * strips * n_columns);
  std::vector<std::uint32_t> starts{0};
  std::vector<std::uint16_t> columns;
  std::vector<double> weights;
  std::size_t n_units = 0;
  for (std::size_t row = 0; row < 16 * strips; row += height) {
    std::vector<std::size_t> kept;
    for (std::size_t c = 0; c < (n_columns + side - 1) / side; ++c) {
      if (is_dense || Uniform(0, 1) < density) kept.push_back(c);
    }
    const std::size_t n_real = kept.size(), per_unit = is_strip ? group : 1;
    while (kept.size() % per_unit != 0) kept.push_back(kept.back());
    for (std::size_t unit = 0; unit < kept.size(); unit += per_unit, ++n_units) {
      for (std::size_t r = 0; r < height; ++r) {
        for (std::size_t j = 0; j < per_unit * side; ++j) {
          const std::size_t c = kept[unit + j / side] * side + j % side;
          const bool is_real = unit + j / side < n_real && c < n_columns;
          weights.push_back(is_real ? RandomWeight(type) : 0);
          if (is_real) segment.matrix[(row + r) * n_columns + c] += weights.back();
        }
      }
    }
    for (const std::size_t c : kept) columns.push_back(static_cast<std::uint16_t>(c));
    starts.push_back(static_cast<std::uint32_t>(n_units));
  }
  starts.resize((starts.size() + 15) / 16 * 16, starts.back());
  columns.resize((columns.size() + 31) / 32 * 32);
  std::vector<std::byte> values = Encoded(weights, type);
  values.resize((values.size() + 63) / 64 * 64);
  if (is_dense) starts.clear(), columns.clear();
  segment.starts = std::make_unique<Lines<std::uint32_t>>(starts);
  segment.columns = std::make_unique<Lines<std::uint16_t>>(columns);
  segment.values = std::make_unique<Lines<std::byte>>(values);
  const PieceArrays arrays{layout,
                           type,
                           {segment.starts->data(), starts.size()},
                           {segment.columns->data(), columns.size()},
                           {segment.values->data(), values.size()}};
  segment.piece = CheckPiece(arrays, {16 * strips, n_columns, 1}, Finiteness::kChecked);
  return segment;
}

// The strips of a product in two parts, as two threads would compute them, and no other row touched.
void CheckProduct(const Kernels& kernels, const Segment& segment, std::size_t n, bool wide) {
  const Piece& piece = segment.piece;
  const auto type = static_cast<std::size_t>(piece.type);
  const bool is_int8 = piece.type == WeightType::kInt8;
  const std::size_t rows = 16 * piece.strips, n_columns = piece.n_columns;
  const std::size_t padded = wide ? (n + 15) / 16 * 16 : n, stride = PackedStride(padded);
  const std::vector<float> x = Normals(n * n_columns);
  std::vector<float> scales, inverse_scales;
  for (std::size_t b = 0; b < n; ++b) {
    inverse_scales.push_back(127.0F / kernels.max_abs(x.data() + b * n_columns, n_columns));
  }
  Lines<std::byte> packed(PackedBytes(piece.type, n_columns, stride));
  if (n % 2 == 0) {
    kernels.pack_rows[type](x.data(), n_columns, n_columns, n, is_int8 ? inverse_scales.data() : nullptr,
                            packed.data(), stride);
  } else {
    std::vector<float> turned(n_columns * n);
    kernels.transpose(x.data(), n_columns, n, n_columns, turned.data(), n, n);
    kernels.pack_wide[type](turned.data(), n, n_columns, n, is_int8 ? inverse_scales.data() : nullptr,
                            packed.data(), stride);
  }
  const std::size_t y_stride = wide ? padded : rows;
  Lines<std::uint32_t> y(wide ? rows * padded : padded * rows);
  const auto multiply = wide ? kernels.multiply_wide[type] : kernels.multiply_rows[type];
  const std::size_t middle = piece.strips / 2, end = piece.strips - piece.strips / 3;  // some are left out
  multiply(piece, middle, end, packed.data(), stride, y.data(), y_stride, padded);
  multiply(piece, 0, middle, packed.data(), stride, y.data(), y_stride, padded);
  for (std::size_t b = 0; b < padded; ++b) {
    for (std::size_t row = 0; row < rows; ++row) {
      double sum = 0, magnitude = 0, weights = 0;
      for (std::size_t c = 0; c < n_columns && row < 16 * end; ++c) {
        const float input = b < n ? x[b * n_columns + c] : 0;
        const double seen = is_int8 ? (b < n ? std::nearbyint(input * inverse_scales[b]) : 0)
                            : piece.type == WeightType::kBFloat16 ? ToBFloat16(input)
                                                                  : input;
        const double product = segment.matrix[row * n_columns + c] * seen;
        sum += product, magnitude += std::abs(product), weights += segment.matrix[row * n_columns + c];
      }
      const std::uint32_t bits = y[wide ? row * padded + b : b * rows + row];
      const double got = is_int8 ? std::bit_cast<std::int32_t>(bits) - kernels.input_offset * weights
                                 : std::bit_cast<float>(bits);
      const double error = is_int8 ? 0 : static_cast<double>(n_columns + 2) * kUnit * magnitude;
      Expect(got, sum, error,
             std::string(kernels.name) + " layout " + std::to_string(static_cast<int>(piece.layout)) + " type " +
                 std::to_string(type) + (wide ? " wide" : " rows") + ", " + std::to_string(rows) + " x " +
                 std::to_string(n_columns) + ", " + std::to_string(n) + " streams");
    }
  }
}

void CheckProducts(const Kernels& kernels) {
  for (const Layout layout : {Layout::kStrip16, Layout::kDense16, Layout::kTile4, Layout::kTile8, Layout::kCsr}) {
    for (const WeightType type : {WeightType::kFloat32, WeightType::kBFloat16, WeightType::kInt8}) {
      for (const std::size_t strips : {0, 1, 3}) {
        for (const std::size_t n_columns : {1, 3, 17, 130}) {
          for (const double density : {0.0, 0.4}) {
            const Segment segment = RandomSegment(layout, type, strips, n_columns, density);
            for (const std::size_t n : {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 17}) CheckProduct(kernels, segment, n, false);
            for (const std::size_t n : {1, 16, 33}) CheckProduct(kernels, segment, n, true);
          }
        }
      }
    }
  }
}

double SigmoidOf(double x) { return (1 + std::tanh(x / 2)) / 2; }

void CheckCurves(const Kernels& kernels) {
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits < std::uint64_t{1} << 32; bits += 40'009) {
    x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  }
  for (double value = -12; value < 12; value += 1e-4) x.push_back(static_cast<float>(value));
  std::vector<float> tanh = x, sigmoid = x;
  kernels.tanh(tanh.data(), tanh.size());
  kernels.sigmoid(sigmoid.data(), sigmoid.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double value = std::isnan(x[i]) ? kNan : x[i];
    Expect(tanh[i], std::tanh(value), kCurveBound, std::string(kernels.name) + " tanh");
    Expect(sigmoid[i], SigmoidOf(value), kCurveBound, std::string(kernels.name) + " sigmoid");
  }
}

void CheckVectors(const Kernels& kernels, std::size_t n) {
  const std::string name(kernels.name);
  const std::vector<float> x = Normals(n), z = Normals(n), shift = Normals(n);
  std::vector<float> clipped = x, sum = z, normal(n);
  kernels.clip(clipped.data(), n, 0.5F);
  kernels.add(x.data(), sum.data(), n);
  double largest = 0, mean = 0, variance = 0, magnitude = 0;
  for (const float value : x) {
    largest = std::max<double>(largest, std::abs(value));
    mean += value / static_cast<double>(n), magnitude += std::abs(value) / static_cast<double>(n);
  }
  for (const float value : x) variance += (value - mean) * (value - mean) / static_cast<double>(n);
  Expect(kernels.max_abs(x.data(), n), largest, 0, name + " max_abs");
  if (n > 0) kernels.layer_norm(x.data(), z.data(), shift.data(), 0.1F, normal.data(), n);
  const double deviation = std::sqrt(variance + 0.1), count = static_cast<double>(n);
  std::vector<std::int32_t> sums(n);
  for (auto& value : sums) value = static_cast<std::int32_t>(random_bits() >> 8);
  std::vector<float> scaled = shift;
  kernels.add_scaled_rows(sums.data(), x.data(), 0.5F, scaled.data(), n);
  for (std::size_t i = 0; i < n; ++i) {
    Expect(clipped[i], std::clamp(x[i], 0.0F, 0.5F), 0, name + " clip");
    Expect(sum[i], x[i] + z[i], 0, name + " add");
    const double value = (x[i] - mean) / deviation, relative = (count + 2) * kUnit * magnitude / deviation;
    const double error = (relative + std::abs(value) * (relative + (count + 8) * kUnit)) * std::abs(z[i]);
    Expect(normal[i], value * z[i] + shift[i], error + kUnit * (std::abs(value * z[i]) + std::abs(shift[i])) * 2,
           name + " layer_norm");
    const double product = static_cast<double>(sums[i]) * x[i] * 0.5;
    Expect(scaled[i], shift[i] + product, kUnit * (4 * std::abs(product) + std::abs(shift[i])),
           name + " add_scaled_rows");
  }
}

void CheckWide(const Kernels& kernels, std::size_t rows, std::size_t n) {
  const std::size_t stride = n + 3;
  const std::vector<float> row_scales = Normals(rows), x_scales = Normals(n), before = Normals(rows * stride);
  std::vector<std::int32_t> sums(rows * stride);
  for (auto& value : sums) value = static_cast<std::int32_t>(random_bits() >> 8);
  std::vector<float> y = before;
  kernels.add_scaled_wide(sums.data(), stride, row_scales.data(), x_scales.data(), y.data(), stride, rows, n);
  for (std::size_t i = 0; i < rows * stride; ++i) {
    const std::size_t b = i % stride;
    const double product =
        b < n ? static_cast<double>(sums[i]) * row_scales[i / stride] * x_scales[b] : 0;
    Expect(y[i], before[i] + product, b < n ? kUnit * (4 * std::abs(product) + std::abs(before[i])) : 0,
           std::string(kernels.name) + " add_scaled_wide");
  }
  std::vector<std::int32_t> filled = sums;
  kernels.fill_wide(sums.data(), filled.data(), stride, rows, n);
  for (std::size_t i = 0; i < rows * stride; ++i) {
    Expect(filled[i], i % stride < n ? sums[i / stride] : sums[i], 0, std::string(kernels.name) + " fill_wide");
  }
  std::vector<float> turned(n * (rows + 2), 7.0F);
  kernels.transpose(before.data(), stride, rows, n, turned.data(), rows + 2, rows + 2);
  for (std::size_t c = 0; c < n; ++c) {
    for (std::size_t i = 0; i < rows + 2; ++i) {
      Expect(turned[c * (rows + 2) + i], i < rows ? before[i * stride + c] : 0, 0,
             std::string(kernels.name) + " transpose");
    }
  }
}

void CheckCells(const Kernels& kernels, std::size_t strips, std::size_t lanes) {
  const std::size_t cells = strips * lanes;
  const Lines<float> gates(Normals(4 * cells)), drive(Normals(3 * cells)), product(Normals(3 * cells));
  const std::vector<float> before = Normals(cells);
  Lines<float> c(before), h(cells), state(before);
  kernels.lstm(gates.data(), c.data(), h.data(), strips, lanes);
  kernels.gru(drive.data(), product.data(), state.data(), strips, lanes);
  for (std::size_t i = 0; i < cells; ++i) {
    const auto gate = [&](const Lines<float>& values, std::size_t n_gates, std::size_t which) {
      return static_cast<double>(values.data()[(i / lanes * n_gates + which) * lanes + i % lanes]);
    };
    const double old = before[i];
    const double cell =
        SigmoidOf(gate(gates, 4, 1)) * old + SigmoidOf(gate(gates, 4, 0)) * std::tanh(gate(gates, 4, 2));
    const double error = kCurveBound * (std::abs(old) + 2) + 3 * kUnit * (std::abs(old) + 1);
    Expect(c[i], cell, error, std::string(kernels.name) + " lstm, c");
    Expect(h[i], SigmoidOf(gate(gates, 4, 3)) * std::tanh(cell), error + 2 * kCurveBound + kUnit,
           std::string(kernels.name) + " lstm, h");
    const double reset = SigmoidOf(gate(drive, 3, 0) + gate(product, 3, 0));
    const double update = SigmoidOf(gate(drive, 3, 1) + gate(product, 3, 1));
    const double candidate = std::tanh(gate(drive, 3, 2) + reset * gate(product, 3, 2));
    const double sizes = 1 + std::abs(old) + std::abs(gate(product, 3, 2)) + std::abs(gate(drive, 3, 2));
    Expect(state[i], candidate + update * (old - candidate), 8 * kCurveBound * sizes * sizes,
           std::string(kernels.name) + " gru");
  }
}

}  // namespace

int main() {
  for (const Kernels* kernels : AvailableKernels()) {
    CheckProducts(*kernels);
    CheckCurves(*kernels);
    for (const std::size_t n : {0, 1, 3, 15, 16, 17, 100}) CheckVectors(*kernels, n);
    for (const std::size_t n : {1, 5, 16, 33}) CheckWide(*kernels, 18, n);
    for (const std::size_t lanes : {16, 48}) CheckCells(*kernels, 3, lanes);
    std::printf("%s: %d of %d values differ\n", std::string(kernels->name).c_str(), n_failures, n_checks);
  }
  return n_failures == 0 ? 0 : 1;
}
