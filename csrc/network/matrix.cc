#include "network/matrix.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "network/threads.h"
#include "network/wide_product.h"

namespace sparrot {
namespace {

constexpr std::size_t kBytesToShare = 300'000;  // fewer weights than that are one thread's
// int8 sums of all streams are made of so many strips at once: they stay near, and every segment is read in
// stretches that are long enough for the processor to fetch ahead.
constexpr std::size_t kStripsAtOnce = 512;
constexpr float kMaxCode = 127.0F;

// Bytes of the weights in the strips before one.
std::size_t ValueBytesBefore(const Piece& piece, std::size_t strip) {
  const std::size_t bytes = 4 / ColumnsPerGroup(piece.type);
  switch (piece.layout) {
    case Layout::kStrip16: return piece.starts[strip] * std::size_t{64};
    case Layout::kDense16: return strip * kStripRows * RoundUp(piece.n_columns, ColumnsPerGroup(piece.type)) * bytes;
    case Layout::kTile4: return piece.starts[4 * strip] * std::size_t{16} * bytes;
    case Layout::kTile8: return piece.starts[2 * strip] * std::size_t{64} * bytes;
    case Layout::kCsr: return piece.starts[kStripRows * strip] * bytes;
  }
  return 0;
}

// The scales of n streams whose largest magnitudes these are, and their inverses.
void ScalesOf(std::size_t n, float* largest, float* inverses) {
  for (std::size_t b = 0; b < n; ++b) {
    inverses[b] = largest[b] == 0.0F ? 0.0F : kMaxCode / largest[b];
    largest[b] /= kMaxCode;
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
  Segment segment{CheckPiece(arrays, shape_, finiteness), {}, {}};
  if (type_ == WeightType::kInt8) {
    segment.own_begin.resize(padded_rows());
    AddRowSums(segment.piece, segment.own_begin);
    for (std::int32_t& sum : segment.own_begin) sum *= -kInputOffset;
    segment.begin = segment.own_begin;
    for (std::size_t i = 0; k > 0 && i < segment.begin.size(); ++i) segment.begin[i] += At(k - 1).begin[i];
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

std::size_t Matrix::Bytes(std::size_t n_segments) const {
  const std::size_t n = n_segments_.load(std::memory_order_acquire);
  return BytesBefore(shape_.Strips(), std::min(n, n_segments));
}

void Matrix::CopyRow(std::size_t row, std::size_t n_segments, float* to) const {
  const std::size_t gate = row / shape_.RowsPerGate(), i = row % shape_.RowsPerGate();
  const std::size_t strip = i / kStripRows * shape_.gates + gate, lane = i % kStripRows;
  const std::size_t n = std::min(n_segments, n_segments_.load(std::memory_order_acquire));
  std::fill_n(to, shape_.columns, 0.0F);
  for (std::size_t k = 0; k < n; ++k) AddRow(At(k).piece, strip, lane, to);
  if (type_ != WeightType::kInt8) return;
  const float scale = row_scales_[strip * kStripRows + lane];
  for (std::size_t c = 0; c < shape_.columns; ++c) to[c] *= scale;
}

void Matrix::AddProduct(const Kernels& kernels, View<const float> x, View<float> y, Counts counts, bool bounded,
                        Workspace& workspace) const {
  const Counts own = Own(counts);
  if (own.empty()) return;
  if (y.form == Form::kRows && own[0] < kWideStreams) {
    AddRows(kernels, x, y, own, bounded, workspace);
    return;
  }
  for (std::size_t begin = 0; begin < own[0];) {
    WideProduct product(*this, kernels, own, bounded, workspace);
    for (std::size_t i = 0; i < WideProduct::kMostBlocks && begin < own[0]; ++i) {
      const auto from = [begin](auto view) {
        view.values += begin * (view.form == Form::kRows ? view.stride : 1);
        return view;
      };
      product.Add(from(x), from(y), begin);
      begin += kMostStreams;
    }
    product.Run();
  }
}

void Matrix::DriveFrames(const Kernels& kernels, FramesInRows x, const float* bias, float* y, std::size_t lanes,
                         Counts counts, Workspace& workspace) const {
  constexpr bool kBounded = true;
  const Counts own = Own(counts);
  if (own.empty()) throw std::logic_error("a matrix without weights is multiplied");
  for (std::size_t begin = 0; begin < x.n_frames;) {
    WideProduct product(*this, kernels, own, !kBounded, workspace, bias);
    for (std::size_t i = 0; i < WideProduct::kMostBlocks && begin < x.n_frames; ++i, ++begin) {
      product.Add({Form::kRows, x.values + begin * x.frame_stride, x.stream_stride},
                  {Form::kWide, y + begin * padded_rows() * lanes, lanes}, 0);
    }
    product.Run();
  }
}

void Matrix::AddRows(const Kernels& kernels, View<const float> x, View<float> y, Counts own, bool bounded,
                     Workspace& workspace) const {
  const std::size_t n = own[0], type = Index(type_), stride = PackedStride(n);
  const bool is_int8 = type_ == WeightType::kInt8;
  float* const scales = workspace.scales.Get<float>(2 * n);
  float* const inverses = scales + n;
  for (std::size_t b = 0; is_int8 && b < n; ++b) {
    scales[b] = bounded ? 1.0F : kernels.max_abs(x.values + b * x.stride, shape_.columns);
  }
  if (is_int8) ScalesOf(n, scales, inverses);
  auto* const inputs = workspace.packed.Get<std::byte>(PackedBytes(type_, shape_.columns, stride));
  kernels.pack_rows[type](x.values, x.stride, shape_.columns, n, inverses, inputs, stride);

  const std::size_t n_parts = PartsOf(own.size()), at_once = kStripsAtOnce / stride,
                    step = at_once * kStripRows;
  auto* const all_sums = workspace.sums.Get<std::int32_t>(n_parts * n * step);
  RunTasks(n_parts, [&](std::size_t part) {
    const std::size_t first = Cut(own.size(), part, n_parts), last = Cut(own.size(), part + 1, n_parts);
    if (!is_int8) {
      for (std::size_t k = 0; k < own.size(); ++k) {
        kernels.multiply_rows[type](At(k).piece, first, last, inputs, stride, y.values, y.stride, own[k]);
      }
      return;
    }
    std::int32_t* const sums = all_sums + part * n * step;  // of a few strips, so that they stay near
    for (std::size_t begin = first; begin < last; begin += at_once) {
      const std::size_t end = std::min(begin + at_once, last), row = begin * kStripRows;
      const std::size_t rows = (end - begin) * kStripRows;
      for (std::size_t b = 0; b < n; ++b) {
        if (kernels.input_offset == 0) {
          std::fill_n(sums + b * step, rows, 0);
        } else {
          std::copy_n(At(SegmentsOf(b, own) - 1).begin.data() + row, rows, sums + b * step);
        }
      }
      for (std::size_t k = 0; k < own.size(); ++k) {
        kernels.multiply_rows[type](StripsOf(At(k).piece, begin, end), 0, end - begin, inputs, stride, sums, step,
                                    own[k]);
      }
      for (std::size_t b = 0; b < n; ++b) {
        kernels.add_scaled_rows(sums + b * step, row_scales_.data() + row, scales[b],
                                y.values + b * y.stride + row, rows);
      }
    }
  });
}

}  // namespace sparrot
