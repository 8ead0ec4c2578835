// A network with its weights, and the streams that go through it.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "network/layers.h"

namespace sparrot {

// Layers in order. It never changes once it is built, save that segments are added to its matrices; any
// number of threads may run it at once.
class Network {
 public:
  Network(const Kernels& kernels, std::size_t input_width) : kernels_(kernels), input_width_(input_width) {}

  // The next layer. Throws std::invalid_argument if it does not take what the one before makes.
  void Add(std::unique_ptr<const Layer> layer);

  const Kernels& kernels() const { return kernels_; }
  std::size_t input_width() const { return input_width_; }
  std::size_t n_tokens() const { return layers_.empty() ? input_width_ : layers_.back()->output_width(); }
  std::span<const std::unique_ptr<const Layer>> layers() const { return layers_; }

 private:
  friend void Advance(std::span<class NetworkStream* const> streams, std::span<const std::size_t> stops,
                      std::span<std::vector<float>> logits);

  struct Group;
  void Run(const Group& group) const;

  const Kernels& kernels_;
  std::size_t input_width_;
  std::vector<std::unique_ptr<const Layer>> layers_;
  mutable Workspaces workspaces_;
};

// One stream on its way through a network, `chunk_frames` output frames at a time.
//
// The chunks lie on a grid that starts with the segment, and every product is computed over the frames of a
// chunk, so the bits of the logits do not depend on how the frames were cut. One caller at a time.
class NetworkStream {
 public:
  // chunk_frames: 0 for the whole utterance in one chunk, once it is finished.
  NetworkStream(std::shared_ptr<const Network> network, std::size_t chunk_frames);

  const std::shared_ptr<const Network>& network() const { return network_; }

  // Starts a new segment: states zero, frames not yet computed given up.
  void Reset();

  // Adds n feature frames (n, input_width).
  void Push(const float* frames, std::size_t n);

  // The segment ends here: the right context of its last frames is zeros.
  void Finish() { n_frames_ = received(); }
  bool finished() const { return n_frames_.has_value(); }

  // What is remembered for a layer.
  const LayerState& state(std::size_t layer) const { return states_.at(layer); }

  // Chunks that can be computed now; after `Finish` the last may be partial.
  std::size_t n_ready() const;

 private:
  friend class Network;
  friend void Advance(std::span<NetworkStream* const> streams, std::span<const std::size_t> stops,
                      std::span<std::vector<float>> logits);

  // The next frames, as those of stream b, given up afterwards.
  void Take(const Frames& x, std::size_t b);
  std::size_t received() const { return static_cast<std::size_t>(frames_->received()); }

  // Frames that have entered the first layer and left each after the next chunk.
  std::vector<std::size_t> NextCounts() const;
  std::vector<std::size_t> CountsOfSegment(std::size_t n_frames) const;

  std::shared_ptr<const Network> network_;
  std::size_t chunk_frames_;
  std::optional<FrameQueue> frames_;
  std::vector<LayerState> states_;
  std::vector<std::size_t> counts_;  // frames that have entered the first layer and left each, so far
  std::optional<std::size_t> n_frames_;
  std::size_t n_chunks_ = 0;
};

// The next chunk of every stream, each at its own level; logits[i] become those of streams[i]: rows of
// n_tokens values.
//
// stops[i]: segments that stream i uses, less one. Streams are stepped together as far as they make equally
// many frames, 64 at most, and such groups side by side on the threads of the pool (threads.h). Throws
// std::invalid_argument if a stream is not ready, of another network, or named twice.
void Advance(std::span<NetworkStream* const> streams, std::span<const std::size_t> stops,
             std::span<std::vector<float>> logits);

}  // namespace sparrot
