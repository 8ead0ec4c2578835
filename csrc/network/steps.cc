#include "network/steps.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "network/batches.h"

namespace sparrot {
namespace {

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

}  // namespace

NetworkSteps::NetworkSteps(std::shared_ptr<const Network> network) : network_(std::move(network)) {
  bool looks_back = network_->input_width() == 1;
  for (const auto& layer : network_->layers()) {
    looks_back = looks_back && layer->reach().right == 0 && layer->reach().stride == 1;
    state_width_ += FloatsOf(*layer);
  }
  if (!looks_back) {
    throw std::invalid_argument("a network that goes on by one index at a time takes one value a frame and looks back only");
  }
}

void NetworkSteps::Run(std::span<const Level> levels, std::span<const std::int32_t> indices,
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
      *x.At(i, 0) = static_cast<float>(indices[row]);  // exact: there are at most 2^24 of them
      from.push_back(states[row].data());
      to.push_back(next_states[row].data());
    }
    for (std::size_t index = 0; index < network_->layers().size(); ++index) {
      const Layer& layer = *network_->layers()[index];
      const std::size_t width = layer.output_width(), stride = RoundUp(width, kStripRows);
      const Frames y{workspace.rows[(index + 1) % 2].Get<float>(n * stride), n, 1, width, stride};
      std::vector<LayerState> memories;
      for (const float*& state : from) memories.push_back(Loaded(layer, state));
      std::vector<LayerState*> named;
      for (LayerState& memory : memories) named.push_back(&memory);
      layer.Run(network_->kernels(), x, y, named, batch.counts, workspace);
      for (std::size_t i = 0; i < n; ++i) Save(layer, memories[i], to[i]);
      x = y;
    }
    for (std::size_t i = 0; i < n; ++i) std::copy_n(x.At(i, 0), x.width, outputs[batch.rows[i]].begin());
  }
}

}  // namespace sparrot
