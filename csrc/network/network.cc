#include "network/network.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "network/threads.h"

namespace sparrot {
namespace {

// Streams of a group: all threads get one, as long as lanes are filled.
std::size_t GroupSize(std::size_t n_streams) {
  const std::size_t share = (n_streams + Threads() - 1) / Threads();
  return std::min(Matrix::kMostStreams, RoundUp(share, kWideStreams));
}

}  // namespace

void Network::Add(std::unique_ptr<const Layer> layer) {
  if (layer->input_width() != n_tokens()) {
    throw std::invalid_argument("a layer takes " + std::to_string(layer->input_width()) +
                                " values a frame, and the one before makes " + std::to_string(n_tokens()));
  }
  layers_.push_back(std::move(layer));
}

NetworkStream::NetworkStream(std::shared_ptr<const Network> network, std::size_t chunk_frames)
    : network_(std::move(network)), chunk_frames_(chunk_frames) {
  Reset();
}

void NetworkStream::Reset() {
  frames_.emplace(network_->input_width());
  states_.clear();
  for (const auto& layer : network_->layers()) states_.push_back(layer->Fresh());
  counts_.assign(network_->layers().size() + 1, 0);
  n_frames_.reset();
  n_chunks_ = 0;
}

void NetworkStream::Push(const float* frames, std::size_t n) {
  if (finished()) throw std::invalid_argument("frames came after `finish`: `reset` starts the next segment");
  frames_->Push(frames, network_->input_width(), n);
}

std::size_t NetworkStream::n_ready() const {
  if (finished()) {
    const std::size_t outputs = CountsOfSegment(*n_frames_).back();
    if (chunk_frames_ == 0) return outputs > 0 && n_chunks_ == 0 ? 1 : 0;
    return (outputs + chunk_frames_ - 1) / chunk_frames_ - n_chunks_;
  }
  if (chunk_frames_ == 0) return 0;
  std::size_t lookahead = 0, stride = 1;
  for (const auto& layer : network_->layers()) {
    lookahead += layer->reach().right * stride;
    stride *= layer->reach().stride;
  }
  if (received() <= lookahead) return 0;
  const std::size_t outputs = (received() - lookahead - 1) / stride + 1;  // whatever comes after them
  return outputs / chunk_frames_ - n_chunks_;
}

std::vector<std::size_t> NetworkStream::CountsOfSegment(std::size_t n_frames) const {
  std::vector<std::size_t> counts{n_frames};
  for (const auto& layer : network_->layers()) {
    const std::size_t stride = layer->reach().stride;
    counts.push_back((counts.back() + stride - 1) / stride);
  }
  return counts;
}

std::vector<std::size_t> NetworkStream::NextCounts() const {
  if (chunk_frames_ == 0) return CountsOfSegment(*n_frames_);
  const auto layers = network_->layers();
  std::vector<std::size_t> counts(layers.size() + 1);
  counts.back() = (n_chunks_ + 1) * chunk_frames_;
  for (std::size_t i = layers.size(); i-- > 0;) {
    const Reach& reach = layers[i]->reach();
    counts[i] = (counts[i + 1] - 1) * reach.stride + reach.right + 1;
  }
  if (!finished()) return counts;
  const std::vector<std::size_t> whole = CountsOfSegment(*n_frames_);
  std::transform(counts.begin(), counts.end(), whole.begin(), counts.begin(),
                 [](std::size_t a, std::size_t b) { return std::min(a, b); });
  return counts;
}

// Streams that make equally many frames, densest level first.
struct Network::Group {
  std::vector<NetworkStream*> streams;
  std::vector<std::size_t> counts;  // streams that use each segment, see matrix.h
  std::vector<std::size_t> frames;  // that enter the first layer and leave each
  std::vector<std::vector<float>*> logits;
};

void Network::Run(const Group& group) const {
  const Workspaces::Lease lease(workspaces_);
  Workspace& workspace = *lease;
  const std::size_t n = group.streams.size();
  Frames x{nullptr, n, group.frames[0], input_width_, RoundUp(input_width_, kStripRows)};
  x.values = workspace.rows[0].Get<float>(n * x.frames * x.stride);
  for (std::size_t b = 0; b < n; ++b) group.streams[b]->Take(x, b);
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    const std::size_t width = layers_[layer]->output_width();
    Frames y{nullptr, n, group.frames[layer + 1], width, RoundUp(width, kStripRows)};
    y.values = workspace.rows[(layer + 1) % 2].Get<float>(n * y.frames * y.stride);
    std::vector<LayerState*> states;
    for (NetworkStream* const stream : group.streams) states.push_back(&stream->states_[layer]);
    layers_[layer]->Run(kernels_, x, y, states, group.counts, workspace);
    x = y;
  }
  for (std::size_t b = 0; b < n; ++b) {
    group.logits[b]->resize(x.frames * x.width);
    for (std::size_t t = 0; t < x.frames; ++t) {
      std::copy_n(x.At(b, t), x.width, group.logits[b]->data() + t * x.width);
    }
  }
}

void NetworkStream::Take(const Frames& x, std::size_t b) {
  for (std::size_t t = 0; t < x.frames; ++t) {
    frames_->Copy(static_cast<std::ptrdiff_t>(counts_[0] + t), x.At(b, t));
  }
  frames_->Forget(static_cast<std::ptrdiff_t>(counts_[0] + x.frames));
}

void Advance(std::span<NetworkStream* const> streams, std::span<const std::size_t> stops,
             std::span<std::vector<float>> logits) {
  if (streams.empty()) return;
  std::vector<const NetworkStream*> named(streams.begin(), streams.end());
  std::sort(named.begin(), named.end(), std::less<>());
  if (std::adjacent_find(named.begin(), named.end()) != named.end()) {
    throw std::invalid_argument("a stream is in a batch twice, and has one next chunk");
  }
  const Network& network = *streams.front()->network();
  std::vector<std::vector<std::size_t>> targets, frames;
  for (const NetworkStream* const stream : streams) {
    if (stream->network().get() != &network) {
      throw std::invalid_argument("the streams of a batch must share their network");
    }
    if (stream->n_ready() == 0) throw std::invalid_argument("a stream has no chunk that is ready");
    targets.push_back(stream->NextCounts());
    std::vector<std::size_t>& made = frames.emplace_back(targets.back());
    std::transform(made.begin(), made.end(), stream->counts_.begin(), made.begin(), std::minus<>());
  }

  std::vector<std::size_t> order(streams.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return frames[a] != frames[b] ? frames[a] < frames[b] : stops[a] > stops[b];
  });

  const std::size_t group_size = GroupSize(streams.size());
  std::vector<Network::Group> groups;
  for (std::size_t position = 0; position < order.size(); ++position) {
    const std::size_t i = order[position];
    if (groups.empty() || groups.back().streams.size() == group_size || groups.back().frames != frames[i]) {
      groups.push_back({{}, std::vector<std::size_t>(stops[i] + 1), frames[i], {}});
    }
    Network::Group& group = groups.back();
    group.streams.push_back(streams[i]);
    group.logits.push_back(&logits[i]);
    for (std::size_t k = 0; k <= stops[i]; ++k) ++group.counts[k];
  }
  RunTasks(groups.size(), [&](std::size_t group) { network.Run(groups[group]); });
  for (std::size_t i = 0; i < streams.size(); ++i) {
    streams[i]->counts_ = targets[i];
    ++streams[i]->n_chunks_;
  }
}

}  // namespace sparrot
