#include "network/recurrent.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace sparrot {
namespace {

constexpr std::size_t kBlock = 256;         // frames of one stream whose input products are held at a time
constexpr std::size_t kFramesTogether = 8;  // of many streams

std::size_t GatesOf(Cell cell) { return cell == Cell::kLstm ? 4 : cell == Cell::kGru ? 3 : 1; }

std::size_t OutputWidth(const std::vector<DirectionWeights>& directions) {
  if (directions.empty() || directions.size() > 2) {
    throw std::invalid_argument("a recurrent layer has one direction or two");
  }
  return directions.size() * directions.front().recurrent->shape().columns;
}

void CheckDirection(const DirectionWeights& weights, Cell cell, std::size_t width) {
  const MatrixShape& input = weights.input->shape();
  const MatrixShape& recurrent = weights.recurrent->shape();
  const std::size_t cells = input.RowsPerGate();
  const std::size_t made = weights.projection ? weights.projection->shape().rows : cells;
  const bool fits = input.gates == GatesOf(cell) && recurrent.gates == input.gates &&
                    recurrent.rows == input.rows && recurrent.columns == made && input.columns == width &&
                    (!weights.projection || weights.projection->shape().columns == cells) &&
                    weights.bias.size() == weights.input->padded_rows() &&
                    weights.candidate_bias.size() == (cell == Cell::kGru ? RoundUp(cells, kStripRows) : 0);
  if (!fits) throw std::invalid_argument("the matrices of a recurrent layer do not fit together");
}

}  // namespace

Recurrent::Recurrent(Cell cell, std::vector<DirectionWeights> directions)
    : Layer(directions.empty() ? 0 : directions.front().input->shape().columns, OutputWidth(directions), {}),
      cell_(cell),
      gates_(GatesOf(cell)),
      directions_(std::move(directions)) {
  for (const DirectionWeights& weights : directions_) {
    CheckDirection(weights, cell, input_width());
    std::vector<float> start(cell == Cell::kGru ? weights.input->padded_rows() : 0);
    for (std::size_t i = 0; i < weights.candidate_bias.size(); ++i) {
      start[(i / kStripRows * gates_ + 2) * kStripRows + i % kStripRows] = weights.candidate_bias[i];
    }
    product_biases_.push_back(std::move(start));
  }
}

std::size_t Recurrent::hidden() const { return directions_.front().recurrent->shape().columns; }
std::size_t Recurrent::cell_strips() const { return directions_.front().input->shape().Strips() / gates_; }

LayerState Recurrent::Fresh() const {
  LayerState state;
  for (std::size_t i = 0; i < directions_.size(); ++i) {
    state.cells.push_back({std::vector<float>(RoundUp(hidden(), kStripRows)),
                           std::vector<float>(cell_strips() * kStripRows)});
  }
  return state;
}

class Recurrent::Pass {
 public:
  Pass(const Recurrent& layer, std::size_t direction, const Kernels& kernels, const Frames& x,
       const Frames& y, std::span<LayerState* const> states, Counts counts, Workspace& workspace)
      : layer_(layer),
        weights_(layer.directions_[direction]),
        start_(layer.product_biases_[direction]),
        direction_(direction),
        kernels_(kernels),
        x_(x),
        y_(y),
        states_(states),
        counts_(counts),
        workspace_(workspace),
        rows_(weights_.input->padded_rows()),
        n_cells_(layer.cell_strips() * kStripRows),
        n_hidden_(RoundUp(layer.hidden(), kStripRows)) {}

  void Run() {
    if (x_.streams < kWideStreams) {
      RunRows();
    } else {
      RunWide();
    }
  }

 private:
  static constexpr bool kBounded = true;  // |h| ≤ 1 in every cell, before a projection

  // Values of all streams: n_cells_ and n_hidden_ of each, `lanes` streams wide.
  struct State {
    float* memory;
    float* hidden;
    float* unprojected;  // what the cells make; `hidden` itself without a projection
    float* products;     // of a GRU's recurrent matrix
  };

  State Room(std::size_t lanes) const {
    State state{workspace_.cells.Get<float>(lanes * n_cells_), workspace_.hidden.Get<float>(lanes * n_hidden_),
                nullptr, nullptr};
    state.unprojected = weights_.projection ? workspace_.projected.Get<float>(lanes * n_cells_) : state.hidden;
    if (!start_.empty()) state.products = workspace_.products.Get<float>(lanes * rows_);
    return state;
  }

  // The frame that is computed as the i-th.
  std::size_t Frame(std::size_t i) const { return direction_ == 0 ? i : x_.frames - 1 - i; }
  float* Output(std::size_t stream, std::size_t frame) const {
    return y_.At(stream, frame) + direction_ * layer_.hidden();
  }
  CellState& Remembered(std::size_t stream) const { return states_[stream]->cells[direction_]; }

  void RunRows() {
    const std::size_t n = x_.streams;
    const State state = Room(n);
    for (std::size_t b = 0; b < n; ++b) {
      std::copy(Remembered(b).memory.begin(), Remembered(b).memory.end(), state.memory + b * n_cells_);
      std::copy(Remembered(b).hidden.begin(), Remembered(b).hidden.end(), state.hidden + b * n_hidden_);
    }
    const std::size_t block = n == 1 ? kBlock : x_.frames;
    for (std::size_t begin = 0; begin < x_.frames; begin += block) {
      const std::size_t length = std::min(block, x_.frames - begin);
      const std::size_t first = direction_ == 0 ? begin : x_.frames - begin - length;
      float* const drives = DriveRows(first, length);
      for (std::size_t i = 0; i < length; ++i) {
        const std::size_t frame = Frame(begin + i);
        StepRows(drives + (frame - first) * rows_, length * rows_, state);
        for (std::size_t b = 0; b < n; ++b) {
          std::copy_n(state.hidden + b * n_hidden_, layer_.hidden(), Output(b, frame));
        }
      }
    }
    for (std::size_t b = 0; b < n; ++b) {
      std::copy_n(state.memory + b * n_cells_, n_cells_, Remembered(b).memory.begin());
      std::copy_n(state.hidden + b * n_hidden_, n_hidden_, Remembered(b).hidden.begin());
    }
  }

  // W x + bias of the frames first … first + length − 1: [streams][length][rows_].
  float* DriveRows(std::size_t first, std::size_t length) {
    float* const drives = workspace_.drives.Get<float>(x_.streams * length * rows_);
    for (std::size_t i = 0; i < x_.streams * length; ++i) {
      std::copy(weights_.bias.begin(), weights_.bias.end(), drives + i * rows_);
    }
    std::array<std::size_t, kMaxStops> rows{};
    std::transform(counts_.begin(), counts_.end(), rows.begin(),
                   [&](std::size_t count) { return count * length; });
    weights_.input->AddProduct(kernels_, {Form::kRows, x_.At(0, first), x_.stride},
                               {Form::kRows, drives, rows_}, {rows.data(), counts_.size()}, !kBounded,
                               workspace_);
    return drives;
  }

  // One frame; the drives of a stream lie `stride` values after those of the one before.
  void StepRows(float* drives, std::size_t stride, const State& state) {
    const std::size_t n = x_.streams, strips = layer_.cell_strips();
    float* sums = drives;
    std::size_t sums_stride = stride;
    if (state.products != nullptr) {
      sums = state.products, sums_stride = rows_;
      for (std::size_t b = 0; b < n; ++b) std::copy(start_.begin(), start_.end(), sums + b * rows_);
    }
    weights_.recurrent->AddProduct(kernels_, {Form::kRows, state.hidden, n_hidden_},
                                   {Form::kRows, sums, sums_stride}, counts_, !weights_.projection, workspace_);
    const std::size_t made_stride = weights_.projection ? n_cells_ : n_hidden_;
    for (std::size_t b = 0; b < n; ++b) {
      Point(drives + b * stride, sums + b * sums_stride, state.memory + b * n_cells_,
            state.unprojected + b * made_stride, strips, kStripRows);
    }
    if (weights_.projection) {
      std::fill_n(state.hidden, n * n_hidden_, 0.0F);
      weights_.projection->AddProduct(kernels_, {Form::kRows, state.unprojected, n_cells_},
                                      {Form::kRows, state.hidden, n_hidden_}, counts_, kBounded, workspace_);
    }
  }

  void RunWide() {
    const std::size_t n = x_.streams, lanes = RoundUp(n, kWideStreams), together = FramesTogether(lanes);
    const State state = Room(lanes);
    Gather(state, lanes);
    for (std::size_t begin = 0; begin < x_.frames; begin += together) {
      const std::size_t length = std::min(together, x_.frames - begin);
      const std::size_t first = direction_ == 0 ? begin : x_.frames - begin - length;
      float* const drives = DriveWide(first, length, lanes);
      for (std::size_t i = 0; i < length; ++i) {
        const std::size_t frame = Frame(begin + i);
        StepWide(drives + (frame - first) * rows_ * lanes, lanes, state);
        kernels_.transpose(state.hidden, lanes, layer_.hidden(), n, Output(0, frame), y_.frames * y_.stride,
                           layer_.hidden());
      }
    }
    Scatter(state, lanes);
  }

  // Frames whose input products are made together. What they make should stay in the cache, unless the weights
  // are more than that.
  std::size_t FramesTogether(std::size_t lanes) const {
    const std::size_t bytes = rows_ * lanes * sizeof(float);
    if (weights_.input->Bytes(counts_.size()) > 2 * bytes) return std::min(x_.frames, kFramesTogether);
    return std::max<std::size_t>(1, Matrix::kMostStreams / lanes);
  }

  // W x + bias of the frames first … first + length − 1: [length][rows_][lanes].
  float* DriveWide(std::size_t first, std::size_t length, std::size_t lanes) {
    float* const drives = workspace_.drives.Get<float>(length * rows_ * lanes);
    const FramesInRows x{x_.At(0, first), x_.frames * x_.stride, x_.stride, length};
    weights_.input->DriveFrames(kernels_, x, weights_.bias.data(), drives, lanes, counts_, workspace_);
    return drives;
  }

  void StepWide(float* drives, std::size_t lanes, const State& state) {
    float* sums = drives;
    if (state.products != nullptr) {
      sums = state.products;
      for (std::size_t row = 0; row < rows_; ++row) std::fill_n(sums + row * lanes, lanes, start_[row]);
    }
    weights_.recurrent->AddProduct(kernels_, {Form::kWide, state.hidden, lanes}, {Form::kWide, sums, lanes},
                                   counts_, !weights_.projection, workspace_);
    Point(drives, sums, state.memory, state.unprojected, layer_.cell_strips(), kStripRows * lanes);
    if (weights_.projection) {
      std::fill_n(state.hidden, lanes * n_hidden_, 0.0F);
      weights_.projection->AddProduct(kernels_, {Form::kWide, state.unprojected, lanes},
                                      {Form::kWide, state.hidden, lanes}, counts_, kBounded, workspace_);
    }
  }

  // The pointwise part of a step.
  void Point(float* drives, float* sums, float* memory, float* made, std::size_t strips,
             std::size_t lanes) const {
    switch (layer_.cell_) {
      case Cell::kLstm: kernels_.lstm(sums, memory, made, strips, lanes); break;
      case Cell::kGru: kernels_.gru(drives, sums, made, strips, lanes); break;
      case Cell::kRnn:
        kernels_.tanh(sums, strips * lanes);
        std::copy_n(sums, strips * lanes, made);
        break;
    }
  }

  // The states of all streams, side by side.
  void Gather(const State& state, std::size_t lanes) const {
    const auto gather = [&](std::vector<float> CellState::*part, std::size_t n, float* wide) {
      float* const rows = workspace_.turned.Get<float>(x_.streams * n);
      for (std::size_t b = 0; b < x_.streams; ++b) std::copy_n((Remembered(b).*part).begin(), n, rows + b * n);
      kernels_.transpose(rows, n, x_.streams, n, wide, lanes, lanes);
    };
    gather(&CellState::memory, n_cells_, state.memory);
    gather(&CellState::hidden, n_hidden_, state.hidden);
  }

  void Scatter(const State& state, std::size_t lanes) const {
    const auto scatter = [&](const float* wide, std::size_t n, std::vector<float> CellState::*part) {
      float* const rows = workspace_.turned.Get<float>(x_.streams * n);
      kernels_.transpose(wide, lanes, n, x_.streams, rows, n, n);
      for (std::size_t b = 0; b < x_.streams; ++b) std::copy_n(rows + b * n, n, (Remembered(b).*part).begin());
    };
    scatter(state.memory, n_cells_, &CellState::memory);
    scatter(state.hidden, n_hidden_, &CellState::hidden);
  }

  const Recurrent& layer_;
  const DirectionWeights& weights_;
  const std::vector<float>& start_;
  std::size_t direction_;
  const Kernels& kernels_;
  const Frames& x_;
  const Frames& y_;
  std::span<LayerState* const> states_;
  Counts counts_;
  Workspace& workspace_;
  std::size_t rows_;      // of the gates, padded
  std::size_t n_cells_;   // of one gate, padded
  std::size_t n_hidden_;  // of h, padded
};

void Recurrent::Run(const Kernels& kernels, const Frames& x, const Frames& y,
                    std::span<LayerState* const> states, Counts counts, Workspace& workspace) const {
  for (std::size_t direction = 0; direction < directions_.size(); ++direction) {
    Pass(*this, direction, kernels, x, y, states, counts, workspace).Run();
  }
}

}  // namespace sparrot
