#include "network/transducer.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "network/batches.h"

namespace sparrot {
namespace {

void CheckFit(const Network& predictor, const MatrixShape& output, std::size_t n_biases) {
  if (predictor.n_tokens() != output.columns || output.gates != 1 ||
      n_biases != kStripRows * output.Strips()) {
    throw std::invalid_argument("the parts of a transducer do not fit together");
  }
}

}  // namespace

NetworkTransducer::NetworkTransducer(std::shared_ptr<const Network> predictor,
                                     std::shared_ptr<const Matrix> output, std::vector<float> bias)
    : predictor_(std::move(predictor)), output_(std::move(output)), bias_(std::move(bias)), sizes_{} {
  const MatrixShape& shape = output_->shape();
  CheckFit(predictor_.network(), shape, bias_.size());
  sizes_ = {shape.rows, shape.columns, predictor_.state_width(), shape.columns};
}

void NetworkTransducer::Start(Level level, std::span<float> state, std::span<float> output) const {
  const std::vector<float> zeros(sizes_.state);
  const std::int32_t blank = kBlank;
  Predict({&level, 1}, {&blank, 1}, {zeros.data(), 1, zeros.size()}, {state.data(), 1, state.size()},
          {output.data(), 1, output.size()});
}

void NetworkTransducer::Predict(std::span<const Level> levels, std::span<const std::int32_t> tokens,
                                const Rows<const float>& states, const Rows<float>& next_states,
                                const Rows<float>& outputs) const {
  predictor_.Run(levels, tokens, states, next_states, outputs);
}

void NetworkTransducer::Join(std::span<const Level> levels, const Rows<const float>& frames,
                             const Rows<const float>& outputs, const Rows<float>& logits) const {
  const std::size_t n = levels.size();
  if (n == 0) return;
  const Batch batch = Batches(levels, n).front();
  const Kernels& kernels = predictor_.network().kernels();
  const Workspaces::Lease lease(workspaces_);
  Workspace& workspace = *lease;
  const std::size_t width = sizes_.encoder, stride = RoundUp(width, kStripRows);
  const std::size_t n_sums = output_->padded_rows();
  float* const hidden = workspace.rows[0].Get<float>(n * stride);
  float* const sums = workspace.rows[1].Get<float>(n * n_sums);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t row = batch.rows[i];
    float* const values = std::copy(frames[row].begin(), frames[row].end(), hidden + i * stride);
    std::fill(values, hidden + (i + 1) * stride, 0.0F);
    kernels.add(outputs[row].data(), hidden + i * stride, width);
    std::copy(bias_.begin(), bias_.end(), sums + i * n_sums);
  }
  kernels.tanh(hidden, n * stride);
  constexpr bool kBounded = true;
  output_->AddProduct(kernels, {Form::kRows, hidden, stride}, {Form::kRows, sums, n_sums}, batch.counts, kBounded,
                      workspace);
  for (std::size_t i = 0; i < n; ++i) {
    std::copy_n(sums + i * n_sums, sizes_.n_tokens, logits[batch.rows[i]].begin());
  }
}

}  // namespace sparrot
