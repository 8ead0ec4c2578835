// Weight matrices and their products with the inputs of many streams, each at its own level.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "layout/pieces.h"
#include "layout/strips.h"
#include "network/workspace.h"

namespace sparrot {

inline constexpr std::size_t kMaxStops = 32;

// counts[k] = streams that segment k is added for. Streams are sorted densest level first, so these are the
// first ones, and counts never rise; counts[0] is the number of streams. (Where the rows of a product are
// frames, a frame counts as a stream.)
using Counts = std::span<const std::size_t>;

constexpr std::size_t Index(WeightType type) { return static_cast<std::size_t>(type); }

// Segments that stream n uses.
inline std::size_t SegmentsOf(std::size_t n, Counts counts) {
  std::size_t k = counts.size();
  while (k > 0 && n >= counts[k - 1]) --k;
  return k;
}

enum class Form { kRows, kWide };

// Values of several streams: [streams][stride] in rows, [values][stride] in wide form.
template <class T>
struct View {
  Form form;
  T* values;
  std::size_t stride;
};

// Frame t of stream b begins at values + b · stream_stride + t · frame_stride.
struct FramesInRows {
  const float* values;
  std::size_t stream_stride;
  std::size_t frame_stride;
  std::size_t n_frames;
};

// A matrix as the sum of its segments, sparsest first. Segments are added by one thread while others multiply
// with the earlier ones.
class Matrix {
 public:
  static constexpr std::size_t kMostStreams = 64;  // in wide form: what they touch stays in the cache

  // row_scales: of int8 weights, [16 · strips]; empty for other types.
  Matrix(MatrixShape shape, WeightType type, std::span<const float> row_scales);

  // The next segment; its arrays must outlive the matrix. A matrix that no level prunes has one for all levels.
  // Throws std::invalid_argument, with a sentence, unless it is a segment of this matrix.
  void Add(const PieceArrays& arrays, Finiteness finiteness);

  // to [columns] = row `row` of W, the sum of the first n_segments; of int8, codes · scale.
  void CopyRow(std::size_t row, std::size_t n_segments, float* to) const;

  const MatrixShape& shape() const { return shape_; }
  WeightType type() const { return type_; }
  std::size_t padded_rows() const { return kStripRows * shape_.Strips(); }

  // Bytes of the weights in the first n segments.
  std::size_t Bytes(std::size_t n_segments) const;

  // y[n] += W_n x[n]   for counts[0] streams; y has padded_rows() values a stream
  //
  // W_n is the sum of the segments k with n < counts[k]. An int8 matrix scales the inputs of every stream by
  // themselves, by max|x| / 127, or by 1 / 127 if they are known to be in [−1, 1]. In wide form there are at most
  // kMostStreams and the strides are multiples of 16; streams between the last and the stride hold anything before
  // and after.
  void AddProduct(const Kernels& kernels, View<const float> x, View<float> y, Counts counts, bool bounded,
                  Workspace& workspace) const;

  // y[t][n] = bias + W_n x[t][n]   for several frames of 16 to 64 streams, all of them at once
  //
  // y is wide for each frame: [frames][padded_rows()][lanes]. Weights come from memory once.
  void DriveFrames(const Kernels& kernels, FramesInRows x, const float* bias, float* y, std::size_t lanes,
                   Counts counts, Workspace& workspace) const;

 private:
  struct Segment {
    Piece piece;
    std::vector<std::int32_t> own_begin;  // −kInputOffset · row sums of int8 codes
    std::vector<std::int32_t> begin;      // the same of its own and all sparser ones'
  };

  // Products of 16 streams and more, in wide form.
  class WideProduct;

  const Segment& At(std::size_t k) const { return *segments_[k]; }
  // Counts of the segments that this matrix has.
  Counts Own(Counts counts) const;
  // How strips are shared among threads: evenly by the weights of the segments before n_segments.
  std::size_t PartsOf(std::size_t n_segments) const;
  std::size_t Cut(std::size_t n_segments, std::size_t part, std::size_t n_parts) const;
  std::size_t BytesBefore(std::size_t strip, std::size_t n_segments) const;
  // Fewer than 16 streams, in rows.
  void AddRows(const Kernels& kernels, View<const float> x, View<float> y, Counts own, bool bounded,
               Workspace& workspace) const;

  MatrixShape shape_;
  WeightType type_;
  std::vector<float> row_scales_;
  std::array<std::optional<Segment>, kMaxStops> segments_;
  std::atomic<std::size_t> n_segments_ = 0;
};

}  // namespace sparrot
