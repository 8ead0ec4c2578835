#include "network/matrix.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "network/threads.h"

namespace sparrot {
namespace {

constexpr std::size_t kBlock = 64;  // streams at a time
constexpr std::size_t kBytesToShare = 300'000;  // fewer weights than that are one thread's
constexpr float kMaxCode = 127.0F;

std::size_t Index(WeightType type) { return static_cast<std::size_t>(type); }

// The densest segment that is multiplied with the inputs of stream n. In wide form that may be one which the
// stream does not use: lanes are filled up with streams whose inputs are zero, and of those the kernels' offset
// is left.
std::size_t SegmentOf(std::size_t n, Counts counts, Form form) {
  std::size_t k = counts.size();
  const auto touched = [&](std::size_t count) {
    const bool in_lanes = form == Form::kWide && count >= kWideStreams;
    return n < (in_lanes ? RoundUp(count, kWideStreams) : count);
  };
  while (k > 1 && !touched(counts[k - 1])) --k;
  return k - 1;
}

// Bytes of the weights in the strips before one.
std::size_t ValueBytesBefore(const Piece& piece, std::size_t strip) {
  const std::size_t bytes = 4 / ColumnsPerGroup(piece.type);
  switch (piece.layout) {
    case Layout::kStrip16: return piece.starts[strip] * std::size_t{64};
    case Layout::kDense16: return strip * kStripRows * piece.n_columns * bytes;
    case Layout::kTile4: return piece.starts[4 * strip] * std::size_t{16} * bytes;
    case Layout::kTile8: return piece.starts[2 * strip] * std::size_t{64} * bytes;
    case Layout::kCsr: return piece.starts[kStripRows * strip] * bytes;
  }
  return 0;
}

// max|x| of the first n streams.
void FindLargest(const Kernels& kernels, View<const float> x, std::size_t columns, std::size_t n,
                 float* largest) {
  if (x.form == Form::kRows) {
    for (std::size_t b = 0; b < n; ++b) largest[b] = kernels.max_abs(x.values + b * x.stride, columns);
    return;
  }
  std::fill_n(largest, n, 0.0F);
  for (std::size_t c = 0; c < columns; ++c) {
    const float* const row = x.values + c * x.stride;
    for (std::size_t b = 0; b < n; ++b) largest[b] = std::max(largest[b], std::abs(row[b]));
  }
}

}  // namespace

Matrix::Matrix(MatrixShape shape, WeightType type, std::span<const float> row_scales)
    : shape_(shape), type_(type), row_scales_(row_scales.begin(), row_scales.end()) {
  const std::size_t expected = type == WeightType::kInt8 ? padded_rows() : 0;
  if (row_scales.size() != expected) {
    throw std::invalid_argument("a matrix of these weights has " + std::to_string(expected) +
                                " row scales, and " + std::to_string(row_scales.size()) + " are given");
  }
}

void Matrix::Add(const PieceArrays& arrays, Finiteness finiteness) {
  const std::size_t k = n_segments_.load(std::memory_order_relaxed);
  if (k == kMaxStops) throw std::invalid_argument("a matrix has at most 32 segments");
  if (arrays.type != type_) throw std::invalid_argument("a segment is not of the type of its matrix");
  Segment segment{CheckPiece(arrays, shape_, finiteness), {}};
  if (type_ == WeightType::kInt8) {
    segment.row_sums = k == 0 ? std::vector<std::int32_t>(padded_rows()) : At(k - 1).row_sums;
    AddRowSums(segment.piece, segment.row_sums);
  }
  segments_[k] = std::move(segment);
  n_segments_.store(k + 1, std::memory_order_release);
}

Counts Matrix::Own(Counts counts) const {
  const std::size_t n = n_segments_.load(std::memory_order_acquire);
  return counts.first(std::min(counts.size(), n));
}

std::size_t Matrix::BytesBefore(std::size_t strip, std::size_t n_segments) const {
  std::size_t bytes = 0;
  for (std::size_t k = 0; k < n_segments; ++k) bytes += ValueBytesBefore(At(k).piece, strip);
  return bytes;
}

std::size_t Matrix::PartsOf(std::size_t n_segments) const {
  return BytesBefore(shape_.Strips(), n_segments) < kBytesToShare ? 1 : Threads();
}

std::size_t Matrix::Cut(std::size_t n_segments, std::size_t part, std::size_t n_parts) const {
  const std::size_t strips = shape_.Strips();
  if (part == 0) return 0;
  if (part == n_parts) return strips;
  const std::size_t wanted = BytesBefore(strips, n_segments) / n_parts * part;
  std::size_t low = 0, high = strips;
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    if (BytesBefore(middle, n_segments) < wanted) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

void Matrix::AddProduct(const Kernels& kernels, View<const float> x, View<float> y, Counts counts, bool bounded,
                        Workspace& workspace) const {
  const Counts own = Own(counts);
  if (own.empty()) return;
  for (std::size_t begin = 0; begin < own[0]; begin += kBlock) {
    std::array<std::size_t, kMaxStops> block{};
    std::size_t n_segments = 0;
    for (const std::size_t count : own) {
      if (count > begin) block[n_segments++] = std::min(count - begin, kBlock);
    }
    const auto from = [begin](auto view) {
      view.values += begin * (view.form == Form::kRows ? view.stride : 1);
      return view;
    };
    AddBlock(kernels, from(x), from(y), {block.data(), n_segments}, bounded, workspace);
  }
}

void Matrix::AddBlock(const Kernels& kernels, View<const float> x, View<float> y, Counts own, bool bounded,
                      Workspace& workspace) const {
  const std::size_t n = own[0], rows = padded_rows(), lanes = RoundUp(n, kWideStreams);
  if (y.form == Form::kRows && n >= kWideStreams) {  // there and back again
    float* const wide = workspace.wide.Get<float>(rows * lanes);
    float* const back = workspace.back.Get<float>(n * rows);
    std::fill_n(wide, rows * lanes, 0.0F);
    AddBlock(kernels, x, {Form::kWide, wide, lanes}, own, bounded, workspace);
    kernels.transpose(wide, lanes, rows, n, back, rows, rows);
    for (std::size_t b = 0; b < n; ++b) kernels.add(back + b * rows, y.values + b * y.stride, rows);
    return;
  }
  float* const scales = workspace.scales.Get<float>(2 * lanes);
  float* const inverses = scales + lanes;
  if (type_ != WeightType::kInt8) {
    AddSums(kernels, x, inverses, y, own, workspace);
    return;
  }
  if (bounded) {
    std::fill_n(scales, n, 1.0F);
  } else {
    FindLargest(kernels, x, shape_.columns, n, scales);
  }
  for (std::size_t b = 0; b < n; ++b) {
    const float largest = scales[b];
    scales[b] = largest / kMaxCode;
    inverses[b] = largest == 0.0F ? 0.0F : kMaxCode / largest;
  }
  std::fill(scales + n, scales + lanes, 0.0F);

  const bool in_rows = y.form == Form::kRows;
  auto* const begun = workspace.sums.Get<std::int32_t>(rows * lanes);
  const View<std::int32_t> sums{y.form, begun, in_rows ? rows : lanes};
  if (!in_rows) std::fill_n(begun, rows * lanes, 0);
  for (std::size_t b = 0; b < n; ++b) {
    const auto& row_sums = At(SegmentOf(b, own, y.form)).row_sums;
    std::int32_t* const first = begun + b * (in_rows ? rows : 1);
    const std::size_t step = in_rows ? 1 : lanes;
    for (std::size_t i = 0; i < rows; ++i) first[i * step] = -kernels.input_offset * row_sums[i];
  }
  AddSums(kernels, x, inverses, sums, own, workspace);
  if (!in_rows) {
    kernels.add_scaled_wide(begun, lanes, row_scales_.data(), scales, y.values, y.stride, rows, n);
    return;
  }
  for (std::size_t b = 0; b < n; ++b) {
    kernels.add_scaled_rows(begun + b * rows, row_scales_.data(), scales[b], y.values + b * y.stride, rows);
  }
}

template <class Sum>
void Matrix::AddSums(const Kernels& kernels, View<const float> x, const float* inverses, View<Sum> sums,
                     Counts own, Workspace& workspace) const {
  const std::size_t type = Index(type_), strips = shape_.Strips(), rows = padded_rows();
  const auto pack = x.form == Form::kRows ? kernels.pack_rows[type] : kernels.pack_wide[type];
  const auto packed = [&](std::size_t n) {
    const std::size_t stride = PackedStride(n);
    auto* const memory = workspace.packed.Get<std::byte>(PackedBytes(type_, shape_.columns, stride));
    pack(x.values, x.stride, shape_.columns, n, inverses, memory, stride);
    return memory;
  };
  std::size_t k = 0;
  if (sums.form == Form::kRows) {
    const auto* const inputs = packed(own[0]);
    const std::size_t stride = PackedStride(own[0]), n_parts = PartsOf(own.size());
    RunTasks(n_parts, [&](std::size_t part) {
      const std::size_t first = Cut(own.size(), part, n_parts), last = Cut(own.size(), part + 1, n_parts);
      for (std::size_t j = 0; j < own.size(); ++j) {
        kernels.multiply_rows[type](At(j).piece, first, last, inputs, stride, sums.values, sums.stride, own[j]);
      }
    });
    return;
  }
  const std::byte* inputs = nullptr;
  for (; k < own.size() && own[k] >= kWideStreams; ++k) {
    const std::size_t lanes = RoundUp(own[k], kWideStreams);
    if (k == 0 || own[k] != own[k - 1]) inputs = packed(own[k]);  // without the streams that are done
    kernels.multiply_wide[type](At(k).piece, 0, strips, inputs, PackedStride(own[k]), sums.values, sums.stride,
                                lanes);
  }
  if (k == own.size()) return;

  // The few streams of the densest levels: in rows, which are then added to the others.
  const std::size_t n = own[k], stride = PackedStride(n);
  inputs = packed(n);
  auto* const few = workspace.few.Get<Sum>(n * rows);
  std::fill_n(few, n * rows, Sum{0});
  for (; k < own.size(); ++k) {
    kernels.multiply_rows[type](At(k).piece, 0, strips, inputs, stride, few, rows, own[k]);
  }
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t b = 0; b < n; ++b) sums.values[i * sums.stride + b] += few[b * rows + i];
  }
}

}  // namespace sparrot
