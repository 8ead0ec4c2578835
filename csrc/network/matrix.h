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

enum class Form { kRows, kWide };

// Values of several streams: [streams][stride] in rows, [values][stride] in wide form.
template <class T>
struct View {
  Form form;
  T* values;
  std::size_t stride;
};

// A matrix as the sum of its segments, sparsest first. Segments are added by one thread while others multiply
// with the earlier ones.
class Matrix {
 public:
  // row_scales: of int8 weights, [16 · strips]; empty for other types.
  Matrix(MatrixShape shape, WeightType type, std::span<const float> row_scales);

  // The next segment; its arrays must outlive the matrix. A matrix that no level prunes has one for all levels.
  // Throws std::invalid_argument, with a sentence, unless it is a segment of this matrix.
  void Add(const PieceArrays& arrays, Finiteness finiteness);

  const MatrixShape& shape() const { return shape_; }
  WeightType type() const { return type_; }
  std::size_t padded_rows() const { return kStripRows * shape_.Strips(); }

  // y[n] += W_n x[n]   for counts[0] streams; y has padded_rows() values a stream
  //
  // W_n is the sum of the segments k with n < counts[k]. An int8 matrix scales the inputs of every stream by
  // themselves, by max|x| / 127, or by 1 / 127 if they are known to be in [−1, 1]. In wide form the strides are
  // multiples of 16; streams between the last and the stride hold anything before and after.
  void AddProduct(const Kernels& kernels, View<const float> x, View<float> y, Counts counts, bool bounded,
                  Workspace& workspace) const;

 private:
  struct Segment {
    Piece piece;
    std::vector<std::int32_t> row_sums;  // of int8 codes, this segment's and all sparser ones'
  };

  const Segment& At(std::size_t k) const { return *segments_[k]; }
  // Counts of the segments that this matrix has.
  Counts Own(Counts counts) const;
  // How strips are shared among threads: evenly by the weights of the segments before n_segments.
  std::size_t PartsOf(std::size_t n_segments) const;
  std::size_t Cut(std::size_t n_segments, std::size_t part, std::size_t n_parts) const;
  std::size_t BytesBefore(std::size_t strip, std::size_t n_segments) const;
  // At most 64 streams: what they touch stays in the cache while the weights go by.
  void AddBlock(const Kernels& kernels, View<const float> x, View<float> y, Counts own, bool bounded,
                Workspace& workspace) const;
  // sums [streams][padded_rows()], or wide, += Σ_k W_k x in the kernels' own units.
  template <class Sum>
  void AddSums(const Kernels& kernels, View<const float> x, const float* inverses, View<Sum> sums, Counts own,
               Workspace& workspace) const;

  MatrixShape shape_;
  WeightType type_;
  std::vector<float> row_scales_;
  std::array<std::optional<Segment>, kMaxStops> segments_;
  std::atomic<std::size_t> n_segments_ = 0;
};

}  // namespace sparrot
