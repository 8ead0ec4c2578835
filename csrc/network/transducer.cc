#include "network/transducer.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

namespace sparrot {
namespace {

// Rows in the order of a product, densest level first, and how many of them use each segment.
struct Batch {
  std::vector<std::size_t> rows;
  std::vector<std::size_t> counts;
};

// All rows, `most` in a batch.
std::vector<Batch> Batches(std::span<const Level> levels, std::size_t most) {
  for (const Level level : levels) {
    if (level < 0 || static_cast<std::size_t>(level) >= kMaxStops) {
      throw std::invalid_argument("a transducer has no level " + std::to_string(level));
    }
  }
  std::vector<std::size_t> rows(levels.size());
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  std::stable_sort(rows.begin(), rows.end(), [&](std::size_t a, std::size_t b) { return levels[a] > levels[b]; });
  std::vector<Batch> batches;
  for (const std::size_t row : rows) {
    const std::size_t n_segments = static_cast<std::size_t>(levels[row]) + 1;
    if (batches.empty() || batches.back().rows.size() == most) {
      batches.push_back({{}, std::vector<std::size_t>(n_segments)});
    }
    batches.back().rows.push_back(row);
    for (std::size_t k = 0; k < n_segments; ++k) ++batches.back().counts[k];
  }
  return batches;
}

std::size_t FloatsOf(const Layer& layer) {
  std::size_t n = layer.reach().left * layer.input_width();
  for (const CellState& cell : layer.Fresh().cells) n += cell.hidden.size() + cell.memory.size();
  return n;
}

// A layer's part of a state, from `from` on; `from` moves past it.
LayerState Loaded(const Layer& layer, const float*& from) {
  LayerState state = layer.Fresh();
  if (state.around) {
    const std::size_t left = layer.reach().left, width = layer.input_width();
    state.around->Push(from, width, left);
    state.n_made = static_cast<std::ptrdiff_t>(left);
    from += left * width;
  }
  for (CellState& cell : state.cells) {
    for (std::vector<float>* const part : {&cell.hidden, &cell.memory}) {
      std::copy_n(from, part->size(), part->begin());
      from += part->size();
    }
  }
  return state;
}

// The other way.
void Save(const Layer& layer, const LayerState& state, float*& to) {
  if (state.around) {
    const auto left = static_cast<std::ptrdiff_t>(layer.reach().left);
    for (std::ptrdiff_t i = state.n_made - left; i < state.n_made; ++i, to += layer.input_width()) {
      state.around->Copy(i, to);
    }
  }
  for (const CellState& cell : state.cells) {
    to = std::copy(cell.hidden.begin(), cell.hidden.end(), to);
    to = std::copy(cell.memory.begin(), cell.memory.end(), to);
  }
}

void CheckFit(const Network& predictor, const MatrixShape& output, std::size_t n_biases) {
  bool looks_back = predictor.input_width() == 1;
  for (const auto& layer : predictor.layers()) {
    looks_back = looks_back && layer->reach().right == 0 && layer->reach().stride == 1;
  }
  if (!looks_back || predictor.n_tokens() != output.columns || output.gates != 1 ||
      n_biases != kStripRows * output.Strips()) {
    throw std::invalid_argument("the parts of a transducer do not fit together");
  }
}

}  // namespace

NetworkTransducer::NetworkTransducer(std::shared_ptr<const Network> predictor,
                                     std::shared_ptr<const Matrix> output, std::vector<float> bias)
    : predictor_(std::move(predictor)), output_(std::move(output)), bias_(std::move(bias)), sizes_{} {
  const MatrixShape& shape = output_->shape();
  CheckFit(*predictor_, shape, bias_.size());
  sizes_ = {shape.rows, shape.columns, 0, shape.columns};
  for (const auto& layer : predictor_->layers()) sizes_.state += FloatsOf(*layer);
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
  const Workspaces::Lease lease(workspaces_);
  Workspace& workspace = *lease;
  for (const Batch& batch : Batches(levels, Matrix::kMostStreams)) {
    const std::size_t n = batch.rows.size();
    Frames x{workspace.rows[0].Get<float>(n * kStripRows), n, 1, 1, kStripRows};
    std::vector<const float*> from;
    std::vector<float*> to;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t row = batch.rows[i];
      *x.At(i, 0) = static_cast<float>(tokens[row]);  // exact: there are at most 2^24 tokens
      from.push_back(states[row].data());
      to.push_back(next_states[row].data());
    }
    for (std::size_t index = 0; index < predictor_->layers().size(); ++index) {
      const Layer& layer = *predictor_->layers()[index];
      const std::size_t width = layer.output_width(), stride = RoundUp(width, kStripRows);
      const Frames y{workspace.rows[(index + 1) % 2].Get<float>(n * stride), n, 1, width, stride};
      std::vector<LayerState> memories;
      for (const float*& state : from) memories.push_back(Loaded(layer, state));
      std::vector<LayerState*> named;
      for (LayerState& memory : memories) named.push_back(&memory);
      layer.Run(predictor_->kernels(), x, y, named, batch.counts, workspace);
      for (std::size_t i = 0; i < n; ++i) Save(layer, memories[i], to[i]);
      x = y;
    }
    for (std::size_t i = 0; i < n; ++i) std::copy_n(x.At(i, 0), x.width, outputs[batch.rows[i]].begin());
  }
}

void NetworkTransducer::Join(std::span<const Level> levels, const Rows<const float>& frames,
                             const Rows<const float>& outputs, const Rows<float>& logits) const {
  const std::size_t n = levels.size();
  if (n == 0) return;
  const Batch batch = Batches(levels, n).front();
  const Kernels& kernels = predictor_->kernels();
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
