// The layers of a network, each over the frames of many streams at once (docs/format.md, Layers).
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "network/affines.h"
#include "network/workspace.h"
#include "network/frame_queue.h"
#include "network/matrix.h"

namespace sparrot {

// Frames of several streams: values [streams][frames][stride], `width` of each row in use.
struct Frames {
  float* values;
  std::size_t streams;
  std::size_t frames;
  std::size_t width;
  std::size_t stride;

  float* At(std::size_t stream, std::size_t frame) const {
    return values + (stream * frames + frame) * stride;
  }
};

// The input frames that output frame j sees: j·stride − left … j·stride + right.
struct Reach {
  std::size_t left = 0;
  std::size_t right = 0;
  std::size_t stride = 1;

  bool sees_only_itself() const { return left == 0 && right == 0 && stride == 1; }
};

// What one direction of a recurrent layer remembers; zero at the start of a segment. Both are padded to whole
// strips; the memory of cells other than the LSTM's stays zero.
struct CellState {
  std::vector<float> hidden;
  std::vector<float> memory;
};

// What one stream remembers for one layer.
struct LayerState {
  std::optional<FrameQueue> around;  // inputs that later outputs see
  std::ptrdiff_t n_made = 0;         // outputs so far
  std::vector<CellState> cells;      // one a direction
};

class Layer {
 public:
  virtual ~Layer() = default;
  Layer(std::size_t input_width, std::size_t output_width, Reach reach)
      : input_width_(input_width), output_width_(output_width), reach_(reach) {}

  std::size_t input_width() const { return input_width_; }
  std::size_t output_width() const { return output_width_; }
  const Reach& reach() const { return reach_; }

  // The state at the start of a segment.
  virtual LayerState Fresh() const;

  // The next outputs of every stream, from its next inputs. States move on; x may be overwritten.
  //
  // states: one a stream. counts: streams that use each segment, see matrix.h.
  virtual void Run(const Kernels& kernels, const Frames& x, const Frames& y,
                   std::span<LayerState* const> states, Counts counts, Workspace& workspace) const = 0;

 private:
  std::size_t input_width_;
  std::size_t output_width_;
  Reach reach_;
};

// y[j] = [x[j·stride − left], …, x[j·stride + right]]
class Window final : public Layer {
 public:
  Window(std::size_t input_width, Reach reach)
      : Layer(input_width, input_width * (reach.left + 1 + reach.right), reach) {}
  void Run(const Kernels& kernels, const Frames& x, const Frames& y, std::span<LayerState* const> states,
           Counts counts, Workspace& workspace) const override;
};

// min(max(x, 0), ceiling), tanh, or x itself.
struct Activation {
  enum class Kind { kIdentity, kClip, kTanh };
  Kind kind = Kind::kIdentity;
  float ceiling = std::numeric_limits<float>::infinity();

  void Apply(const Kernels& kernels, float* x, std::size_t n) const;
};

// y = act(W x + bias)
class Linear final : public Layer {
 public:
  // bias: padded to whole strips.
  Linear(std::shared_ptr<const Matrix> weight, std::vector<float> bias, Activation activation);
  void Run(const Kernels& kernels, const Frames& x, const Frames& y, std::span<LayerState* const> states,
           Counts counts, Workspace& workspace) const override;

 private:
  std::shared_ptr<const Matrix> weight_;
  std::vector<float> bias_;
  Activation activation_;
};

class LayerNorm final : public Layer {
 public:
  LayerNorm(std::vector<float> scale, std::vector<float> shift, std::size_t width, float epsilon);
  void Run(const Kernels& kernels, const Frames& x, const Frames& y, std::span<LayerState* const> states,
           Counts counts, Workspace& workspace) const override;

 private:
  std::vector<float> scale_;
  std::vector<float> shift_;
  float epsilon_;
};

// y = x · scale + shift, of the stop of every stream
class BatchNorm final : public Layer {
 public:
  explicit BatchNorm(std::shared_ptr<const Affines> affines);
  void Run(const Kernels& kernels, const Frames& x, const Frames& y, std::span<LayerState* const> states,
           Counts counts, Workspace& workspace) const override;

 private:
  std::shared_ptr<const Affines> affines_;
};

// y = the row of `table` that x, one value, is the index of; zeros if it is none.
class Embedding final : public Layer {
 public:
  explicit Embedding(std::shared_ptr<const Matrix> table);
  void Run(const Kernels& kernels, const Frames& x, const Frames& y, std::span<LayerState* const> states,
           Counts counts, Workspace& workspace) const override;

 private:
  std::shared_ptr<const Matrix> table_;
};

// Planes of bins: frames are channels × bins, channel after channel.
struct ConvolutionShape {
  std::size_t channels, bins;        // of the input
  std::size_t kernel, span;          // frames and bins that an output sees
  std::size_t padding, stride_bins;  // of the bins
  std::size_t output_bins;
};

// y[j, o, b] = act(bias[o] + Σ_{i,t,k} W[o, (i·kernel + t)·span + k] · x[j·stride + t − left, i, b·stride_bins + k − p])
class Convolution final : public Layer {
 public:
  Convolution(const ConvolutionShape& shape, Reach reach, std::shared_ptr<const Matrix> kernel,
              std::vector<float> bias, Activation activation);
  void Run(const Kernels& kernels, const Frames& x, const Frames& y, std::span<LayerState* const> states,
           Counts counts, Workspace& workspace) const override;

 private:
  // The inputs of every output bin of a frame: [output_bins][columns], from context [kernel][input_width].
  void Unfold(const float* context, float* unfolded) const;

  ConvolutionShape shape_;
  std::shared_ptr<const Matrix> kernel_;
  std::vector<float> bias_;
  Activation activation_;
};

}  // namespace sparrot
