// Products of 16 streams and more: lanes are streams, and a weight is read once for many of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "network/matrix.h"

namespace sparrot {

// One product of a matrix with several blocks of streams, or with several frames of one block. Strips of the
// matrix are gone through once: while a few of them are in the cache, they are multiplied with all blocks.
class Matrix::WideProduct {
 public:
  static constexpr std::size_t kMostBlocks = 8;

  // own: counts of the matrix's segments. bias: what wide y begins with; without one it is added to.
  WideProduct(const Matrix& matrix, const Kernels& kernels, Counts own, bool bounded, Workspace& workspace,
              const float* bias = nullptr)
      : matrix_(matrix), kernels_(kernels), own_(own), bounded_(bounded), workspace_(workspace), bias_(bias) {}

  // Another block, of the streams from `first` on. At most kMostBlocks are added before `Run`.
  void Add(View<const float> x, View<float> y, std::size_t first);

  void Run();

 private:
  struct Block {
    View<const float> x;
    View<float> y;
    std::size_t n_streams;
    std::size_t lanes;                             // n_streams in whole vectors of streams
    std::size_t n_segments;                        // that any of them uses
    std::array<std::size_t, kMaxStops> counts;     // streams of each segment
    std::array<std::size_t, kMaxStops> inputs;     // where they are packed, of segments that fill lanes
    float* scales;                                 // of int8: [lanes], then their inverses
  };

  // A segment that fewer than 16 streams of some blocks use. These streams are brought together, block after
  // block, and their sums are then added to those of the blocks.
  struct Few {
    std::size_t segment;
    std::size_t n_streams;
    Form form;            // rows below 16 streams
    std::size_t lanes;    // of wide sums
    std::size_t stride;   // of packed inputs
    std::size_t inputs;   // where they are packed
    std::size_t sums;     // where the sums of a step begin
  };

  static constexpr std::size_t kSumsAtOnce = 12'288;  // of a block, 48 KiB, so that they stay near

  std::span<Block> blocks() { return {blocks_.data(), n_blocks_}; }
  std::span<Few> few() { return {few_.data(), n_few_}; }
  WeightType type() const { return matrix_.type_; }

  void FindScales();
  void PlaceInputs();
  void PackInputs();
  void PackFew(const Few& few, std::byte* to);

  // The strips first … last − 1 for all blocks.
  template <class Sum>
  void RunStrips(std::size_t first, std::size_t last);
  template <class Sum>
  void MultiplyFew(std::size_t first, std::size_t last);
  template <class Sum>
  void AddFew(std::size_t block, std::size_t rows, Sum* sums, std::size_t stride);
  // What the sums of a step begin with; for a few streams that is their own segment's share of it.
  void BeginFew(const Few& few, std::size_t first_row, std::size_t rows, float* sums) const;
  void BeginFew(const Few& few, std::size_t first_row, std::size_t rows, std::int32_t* sums) const;
  void BeginSums(const Block& block, std::size_t first_row, std::size_t rows, std::int32_t* sums) const;

  const Matrix& matrix_;
  const Kernels& kernels_;
  Counts own_;
  bool bounded_;
  Workspace& workspace_;
  const float* bias_;
  std::array<Block, kMostBlocks> blocks_;
  std::size_t n_blocks_ = 0;
  std::array<Few, kMaxStops> few_;
  std::size_t n_few_ = 0;
  std::size_t input_bytes_ = 0;
  std::size_t few_sums_ = 0;
  std::size_t strips_at_once_ = 1;
};

}  // namespace sparrot
