#include "network/shared_rnn.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace sparrot {
namespace {

bool IsSquare(const Matrix& matrix, std::size_t side) {
  return matrix.shape().rows == side && matrix.shape().columns == side && matrix.shape().gates == 1;
}

void CheckWeights(const SharedRnnWeights& weights) {
  const MatrixShape& input = weights.input->shape();
  const bool fits = input.gates == 1 && IsSquare(*weights.recurrent, input.rows) &&
                    IsSquare(*weights.reverse, input.rows) &&
                    (weights.affines ? weights.bias.empty() && weights.affines->width() == input.rows
                                     : weights.bias.size() == weights.input->padded_rows());
  if (!fits) throw std::invalid_argument("the matrices of a recurrent layer do not fit together");
}

}  // namespace

SharedRnn::SharedRnn(SharedRnnWeights weights, Activation activation)
    : Layer(weights.input->shape().columns, weights.input->shape().rows, {}),
      weights_(std::move(weights)),
      activation_(activation) {
  CheckWeights(weights_);
}

float* SharedRnn::Drives(const Kernels& kernels, const Frames& x, Counts counts, Workspace& workspace) const {
  const std::size_t rows = weights_.input->padded_rows(), n = x.streams * x.frames;
  float* const drives = workspace.drives.Get<float>(n * rows);
  if (weights_.affines) {
    std::fill_n(drives, n * rows, 0.0F);
  } else {
    for (std::size_t i = 0; i < n; ++i) {
      std::copy(weights_.bias.begin(), weights_.bias.end(), drives + i * rows);
    }
  }
  std::array<std::size_t, kMaxStops> n_rows{};
  std::transform(counts.begin(), counts.end(), n_rows.begin(),
                 [&](std::size_t count) { return count * x.frames; });
  constexpr bool kBounded = false;
  weights_.input->AddProduct(kernels, {Form::kRows, x.values, x.stride}, {Form::kRows, drives, rows},
                             {n_rows.data(), counts.size()}, kBounded, workspace);
  for (std::size_t b = 0; weights_.affines && b < x.streams; ++b) {
    const Affine& affine = weights_.affines->Of(SegmentsOf(b, counts));
    for (std::size_t t = 0; t < x.frames; ++t) {
      float* const drive = drives + (b * x.frames + t) * rows;
      affine.Apply(drive, drive);
    }
  }
  return drives;
}

void SharedRnn::Run(const Kernels& kernels, const Frames& x, const Frames& y, std::span<LayerState* const>,
                    Counts counts, Workspace& workspace) const {
  const std::size_t n = x.streams, rows = weights_.input->padded_rows();
  const bool is_bounded = activation_.kind == Activation::Kind::kTanh;
  const float* const drives = Drives(kernels, x, counts, workspace);
  float* hidden = workspace.hidden.Get<float>(n * rows);
  float* sums = workspace.products.Get<float>(n * rows);
  for (const bool is_reverse : {false, true}) {
    const Matrix& recurrent = is_reverse ? *weights_.reverse : *weights_.recurrent;
    std::fill_n(hidden, n * rows, 0.0F);
    for (std::size_t i = 0; i < x.frames; ++i) {
      const std::size_t t = is_reverse ? x.frames - 1 - i : i;
      for (std::size_t b = 0; b < n; ++b) std::copy_n(drives + (b * x.frames + t) * rows, rows, sums + b * rows);
      recurrent.AddProduct(kernels, {Form::kRows, hidden, rows}, {Form::kRows, sums, rows}, counts, is_bounded,
                           workspace);
      activation_.Apply(kernels, sums, n * rows);
      std::swap(hidden, sums);
      for (std::size_t b = 0; b < n; ++b) {
        if (is_reverse) {
          kernels.add(hidden + b * rows, y.At(b, t), y.width);
        } else {
          std::copy_n(hidden + b * rows, y.width, y.At(b, t));
        }
      }
    }
  }
}

}  // namespace sparrot
