#include "training/block_lstm.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <vector>

#include "layout/strips.h"
#include "network/threads.h"
#include "network/workspace.h"
#include "training/block_kernels.h"

namespace sparrot {
namespace {

constexpr std::size_t kTogether = 64;  // frames that products without recurrence take at once

}  // namespace

BlockLstm::BlockLstm(const LstmParts<const BlockMatrix>& matrices, const Kernels& kernels)
    : matrices_(matrices), kernels_(kernels), padded_(matrices.input->shape().PaddedPerGate()) {
  const GatedShape &input = matrices.input->shape(), &recurrent = matrices.recurrent->shape();
  const auto projects = [&](const GatedShape& shape) {
    return shape.gates == 1 && shape.columns == cells() && shape.rows == hidden();
  };
  const bool fits = input.gates == kGates && recurrent.gates == kGates && recurrent.rows == input.rows &&
                    (matrices.projection ? projects(matrices.projection->shape()) : hidden() == cells());
  if (!fits) throw std::invalid_argument("the matrices of an LSTM layer do not fit together");
}

// Consecutive utterances, all of a thread's. Frames are counted over all utterances.
class BlockLstm::Share {
 public:
  Share(const BlockLstm& layer, const LstmInput& input, const LstmParts<const float>& values, std::size_t first,
        std::size_t last)
      : layer_(layer),
        kernels_(layer.kernels_),
        blocks_(BlockKernelsFor(kernels_.name)),
        x_(input.x),
        frames_(input.frames),
        first_(first),
        n_(last - first),
        padded_(layer.padded_),
        input_(layer.matrices_.input->With(values.input)),
        recurrent_(layer.matrices_.recurrent->With(values.recurrent)) {
    if (values.projection) projection_ = layer.matrices_.projection->With(values.projection);
  }

  void Forward(const float* bias, float* y, LstmTrace trace) {
    Drive(bias, trace);
    zeros_.assign(padded_, 0.0F);
    for (std::size_t t = 0; t < frames_; ++t) Step(t, y, trace);
  }

  void Backward(const float* y, const float* d_y, const float* trace, const LstmGradients& gradients) {
    const std::size_t rows = kGates * padded_;
    float* const d_gates = d_gates_.Get<float>(n_ * frames_ * rows);
    float* const d_hidden = projection_ ? d_hidden_.Get<float>(n_ * frames_ * ProjectedRows()) : nullptr;
    zeros_.assign(padded_, 0.0F);
    ThroughTime(d_y, trace, d_gates, d_hidden);
    for (std::size_t f = 0; f < n_ * frames_; ++f) AddBias(d_gates + f * rows, gradients.bias);
    if (gradients.x != nullptr) InputGradient(d_gates, gradients.x);
    WeightGradients(y, trace, d_gates, d_hidden, gradients.values);
  }

 private:
  std::size_t width() const { return layer_.width(); }
  std::size_t hidden() const { return layer_.hidden(); }
  std::size_t ProjectedRows() const { return projection_->strips * kStripRows; }
  std::size_t FrameOf(std::size_t utterance, std::size_t t) const { return (first_ + utterance) * frames_ + t; }
  const float* Gates(const float* trace, std::size_t frame) const { return trace + frame * layer_.trace_width(); }
  float* Gates(float* trace, std::size_t frame) const { return trace + frame * layer_.trace_width(); }

  // y[b] += the product with x[b]   for n rows each; both may lie anywhere
  void AddProduct(const Piece& piece, const float* x, std::size_t x_stride, std::size_t n, float* y,
                  std::size_t y_stride) {
    const std::size_t stride = PackedStride(n);
    void* const packed = packed_.Get<std::byte>(PackedBytes(WeightType::kFloat32, piece.n_columns, stride));
    kernels_.pack_rows[0](x, x_stride, piece.n_columns, n, nullptr, packed, stride);
    kernels_.multiply_rows[0](piece, 0, piece.strips, packed, stride, y, y_stride, n);
  }

  // x[b] = the product of the transposed matrix with y[b]   for n rows each
  void MultiplyBack(const Piece& piece, const float* y, std::size_t y_stride, std::size_t n, float* x,
                    std::size_t x_stride, std::size_t x_width) {
    const std::size_t lanes = RoundUp(n, kLaneMultiple), rows = piece.strips * kStripRows;
    float* const wide = wide_.Get<float>(rows * lanes);
    float* const product = product_.Get<float>(piece.n_columns * lanes);
    kernels_.transpose(y, y_stride, n, rows, wide, lanes, lanes);
    std::fill_n(product, piece.n_columns * lanes, 0.0F);
    blocks_.multiply_back(piece, wide, product, lanes);
    kernels_.transpose(product, lanes, piece.n_columns, n, x, x_stride, x_width);
  }

  // The gates of all frames, before what h brings.
  void Drive(const float* bias, LstmTrace trace) {
    const std::size_t cells = layer_.cells(), stride = layer_.trace_width();
    std::vector<float> begin(kGates * padded_);
    for (std::size_t k = 0; k < kGates; ++k) std::copy_n(bias + k * cells, cells, begin.begin() + k * padded_);
    for (std::size_t f = FrameOf(0, 0); f < FrameOf(n_, 0); f += kTogether) {
      const std::size_t n = std::min(kTogether, FrameOf(n_, 0) - f);
      for (std::size_t i = f; i < f + n; ++i) std::copy(begin.begin(), begin.end(), Gates(trace, i));
      AddProduct(input_, x_ + f * width(), width(), n, Gates(trace, f), stride);
    }
  }

  void Step(std::size_t t, float* y, LstmTrace trace) {
    const std::size_t stride = frames_ * hidden(), trace_stride = frames_ * layer_.trace_width();
    if (t > 0) {
      AddProduct(recurrent_, y + FrameOf(0, t - 1) * hidden(), stride, n_, Gates(trace, FrameOf(0, t)), trace_stride);
    }
    float* const made = made_.Get<float>(n_ * padded_);
    for (std::size_t b = 0; b < n_; ++b) {
      float* const gates = Gates(trace, FrameOf(b, t));
      float *const cell = gates + kGates * padded_, *const squashed = cell + padded_;
      kernels_.sigmoid(gates, 2 * padded_);
      kernels_.tanh(gates + 2 * padded_, padded_);
      kernels_.sigmoid(gates + 3 * padded_, padded_);
      blocks_.new_cell(gates, Before(trace, b, t), cell, padded_);
      std::copy_n(cell, padded_, squashed);
      kernels_.tanh(squashed, padded_);
      blocks_.multiply(gates + 3 * padded_, squashed, made + b * padded_, padded_);
    }
    const float* h = made;
    std::size_t h_stride = padded_;
    if (projection_) {
      h_stride = ProjectedRows();
      float* const projected = projected_.Get<float>(n_ * h_stride);
      std::fill_n(projected, n_ * h_stride, 0.0F);
      AddProduct(*projection_, made, padded_, n_, projected, h_stride);
      h = projected;
    }
    for (std::size_t b = 0; b < n_; ++b) std::copy_n(h + b * h_stride, hidden(), y + FrameOf(b, t) * hidden());
  }

  // The cells before frame t of an utterance.
  const float* Before(const float* trace, std::size_t utterance, std::size_t t) const {
    return t == 0 ? zeros_.data() : Gates(trace, FrameOf(utterance, t - 1)) + kGates * padded_;
  }

  // Writes the gradients of all gates before their functions, [n_ · frames_][4 · padded_], and those of all projected
  // h, [n_ · frames_][ProjectedRows()].
  void ThroughTime(const float* d_y, const float* trace, float* d_gates, float* d_projected) {
    const std::size_t rows = kGates * padded_;
    const std::size_t h_width = projection_ ? ProjectedRows() : padded_;
    float* const d_h = d_h_.Get<float>(n_ * h_width);
    float* const d_made = projection_ ? made_.Get<float>(n_ * padded_) : d_h;
    float* const d_cell = d_cell_.Get<float>(n_ * padded_);
    std::fill_n(d_h, n_ * h_width, 0.0F);
    std::fill_n(d_cell, n_ * padded_, 0.0F);
    for (std::size_t t = frames_; t-- > 0;) {
      for (std::size_t b = 0; b < n_; ++b) {
        const float* const given = d_y + FrameOf(b, t) * hidden();
        for (std::size_t i = 0; i < hidden(); ++i) d_h[b * h_width + i] += given[i];
        if (projection_) std::copy_n(d_h + b * h_width, h_width, d_projected + (b * frames_ + t) * h_width);
      }
      if (projection_) MultiplyBack(*projection_, d_h, h_width, n_, d_made, padded_, padded_);
      for (std::size_t b = 0; b < n_; ++b) {
        const float* const gates = Gates(trace, FrameOf(b, t));
        blocks_.undo_cell(gates, Before(trace, b, t), gates + (kGates + 1) * padded_, d_made + b * padded_,
                          d_cell + b * padded_, d_gates + (b * frames_ + t) * rows, padded_);
      }
      if (t > 0) MultiplyBack(recurrent_, d_gates + t * rows, frames_ * rows, n_, d_h, h_width, h_width);
    }
  }

  void AddBias(const float* d_gates, float* bias) const {
    const std::size_t cells = layer_.cells();
    for (std::size_t k = 0; k < kGates; ++k) kernels_.add(d_gates + k * padded_, bias + k * cells, cells);
  }

  void InputGradient(const float* d_gates, float* d_x) {
    const std::size_t rows = kGates * padded_, n_frames = n_ * frames_;
    for (std::size_t f = 0; f < n_frames; f += kTogether) {
      const std::size_t n = std::min(kTogether, n_frames - f);
      MultiplyBack(input_, d_gates + f * rows, rows, n, d_x + (FrameOf(0, 0) + f) * width(), width(), width());
    }
  }

  void WeightGradients(const float* y, const float* trace, const float* d_gates, const float* d_projected,
                       const LstmParts<float>& values) {
    const std::size_t rows = kGates * padded_, n_frames = n_ * frames_;
    const auto chunks = [&](std::size_t begin, const auto& visit) {
      for (std::size_t f = begin; f < n_frames; f += kTogether) visit(f, std::min(kTogether, n_frames - f));
    };
    chunks(0, [&](std::size_t f, std::size_t n) {
      const float* const x = Wide(x_ + (FrameOf(0, 0) + f) * width(), width(), n, width());
      blocks_.add_products(input_, d_gates + f * rows, rows, x, kTogether, n, values.input);
    });
    chunks(1, [&](std::size_t f, std::size_t n) {
      float* const h = Wide(y + (FrameOf(0, 0) + f - 1) * hidden(), hidden(), n, hidden());
      for (std::size_t start = RoundUp(f, frames_); start < f + n; start += frames_) {  // nothing comes before it
        for (std::size_t c = 0; c < hidden(); ++c) h[c * kTogether + start - f] = 0;
      }
      blocks_.add_products(recurrent_, d_gates + f * rows, rows, h, kTogether, n, values.recurrent);
    });
    if (!projection_) return;
    float* const made = made_.Get<float>(kTogether * padded_);
    chunks(0, [&](std::size_t f, std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) {
        const float* const gates = Gates(trace, FrameOf(0, 0) + f + i);
        blocks_.multiply(gates + 3 * padded_, gates + 5 * padded_, made + i * padded_, padded_);
      }
      const float* const m = Wide(made, padded_, n, layer_.cells());
      blocks_.add_products(*projection_, d_projected + f * ProjectedRows(), ProjectedRows(), m, kTogether, n,
                           values.projection);
    });
  }

  // n ≤ kTogether rows as [columns][kTogether], with zeros past the last.
  float* Wide(const float* x, std::size_t x_stride, std::size_t n, std::size_t columns) {
    float* const wide = wide_.Get<float>(columns * kTogether);
    kernels_.transpose(x, x_stride, n, columns, wide, kTogether, kTogether);
    return wide;
  }

  const BlockLstm& layer_;
  const Kernels& kernels_;
  const BlockKernels& blocks_;
  const float* x_;
  std::size_t frames_, first_, n_, padded_;
  Piece input_, recurrent_;
  std::optional<Piece> projection_;
  std::vector<float> zeros_;
  Scratch packed_, wide_, product_;  // of products
  Scratch made_, projected_;         // h before and after its projection, or their gradients
  Scratch d_gates_, d_hidden_, d_h_, d_cell_;
};

void BlockLstm::Forward(const LstmInput& input, const LstmParts<const float>& values, const float* bias, float* y,
                        LstmTrace trace) const {
  const std::size_t shares = std::min(Threads(), input.utterances);
  RunTasks(shares, [&](std::size_t i) {
    Share(*this, input, values, i * input.utterances / shares, (i + 1) * input.utterances / shares)
        .Forward(bias, y, trace);
  });
}

void BlockLstm::Backward(const LstmInput& input, const float* y, const float* d_y,
                         const LstmParts<const float>& values, const float* trace,
                         const LstmGradients& gradients) const {
  const std::size_t shares = std::min(Threads(), input.utterances);
  const std::array<std::size_t, 4> sizes{matrices_.input->n_values(), matrices_.recurrent->n_values(),
                                         matrices_.projection ? matrices_.projection->n_values() : 0, kGates * cells()};
  const std::array<float*, 4> sums{gradients.values.input, gradients.values.recurrent, gradients.values.projection,
                                   gradients.bias};
  const std::size_t n = std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
  std::vector<float> own(shares > 1 ? (shares - 1) * n : 0);  // sums of all shares but the first
  const auto sums_of = [&](std::size_t share) {
    if (share == 0) return sums;
    std::array<float*, 4> to{own.data() + (share - 1) * n};
    for (std::size_t k = 1; k < to.size(); ++k) to[k] = to[k - 1] + sizes[k - 1];
    return to;
  };
  RunTasks(shares, [&](std::size_t i) {
    const auto to = sums_of(i);
    Share(*this, input, values, i * input.utterances / shares, (i + 1) * input.utterances / shares)
        .Backward(y, d_y, trace, {gradients.x, {to[0], to[1], to[2]}, to[3]});
  });
  for (std::size_t i = 1; i < shares; ++i) {
    const auto from = sums_of(i);
    for (std::size_t k = 0; k < sums.size(); ++k) kernels_.add(from[k], sums[k], sizes[k]);
  }
}

}  // namespace sparrot
