#include "network/layers.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace sparrot {
namespace {

constexpr std::size_t kUnfoldedRows = 512;  // of a convolution, held at a time

void RequireSize(const std::vector<float>& vector, std::size_t size) {
  if (vector.size() != size) throw std::invalid_argument("a vector is not of the size of its layer");
}

// The frames around the next outputs, after the new inputs; one output at a time.
class Surroundings {
 public:
  Surroundings(const Layer& layer, LayerState& state, const Frames& x, std::size_t stream)
      : layer_(layer), state_(state) {
    state_.around->Push(x.At(stream, 0), x.stride, x.frames);
  }

  // The context [left + 1 + right][width] of the next output, side by side.
  void Next(float* context) {
    const Reach& reach = layer_.reach();
    std::ptrdiff_t index = state_.n_made * static_cast<std::ptrdiff_t>(reach.stride) -
                           static_cast<std::ptrdiff_t>(reach.left);
    for (std::size_t i = 0; i < reach.left + 1 + reach.right; ++i, ++index) {
      state_.around->Copy(index, context + i * layer_.input_width());
    }
    ++state_.n_made;
  }

  ~Surroundings() {
    const Reach& reach = layer_.reach();
    state_.around->Forget(state_.n_made * static_cast<std::ptrdiff_t>(reach.stride) -
                          static_cast<std::ptrdiff_t>(reach.left));
  }

  Surroundings(const Surroundings&) = delete;
  Surroundings& operator=(const Surroundings&) = delete;

 private:
  const Layer& layer_;
  LayerState& state_;
};

}  // namespace

LayerState Layer::Fresh() const {
  LayerState state;
  if (!reach_.sees_only_itself()) state.around.emplace(input_width_);
  return state;
}

void Window::Run(const Kernels&, const Frames& x, const Frames& y, std::span<LayerState* const> states,
                 Counts, Workspace&) const {
  for (std::size_t b = 0; b < x.streams; ++b) {
    if (reach().sees_only_itself()) {
      for (std::size_t t = 0; t < x.frames; ++t) std::copy_n(x.At(b, t), x.width, y.At(b, t));
      continue;
    }
    Surroundings around(*this, *states[b], x, b);
    for (std::size_t t = 0; t < y.frames; ++t) around.Next(y.At(b, t));
  }
}

void Activation::Apply(const Kernels& kernels, float* x, std::size_t n) const {
  switch (kind) {
    case Kind::kIdentity: break;
    case Kind::kClip: kernels.clip(x, n, ceiling); break;
    case Kind::kTanh: kernels.tanh(x, n); break;
  }
}

Linear::Linear(std::shared_ptr<const Matrix> weight, std::vector<float> bias, Activation activation)
    : Layer(weight->shape().columns, weight->shape().rows, {}),
      weight_(std::move(weight)),
      bias_(std::move(bias)),
      activation_(activation) {
  RequireSize(bias_, weight_->padded_rows());
}

void Linear::Run(const Kernels& kernels, const Frames& x, const Frames& y, std::span<LayerState* const>,
                 Counts counts, Workspace& workspace) const {
  const std::size_t n = x.streams * x.frames;
  std::array<std::size_t, kMaxStops> rows{};
  std::transform(counts.begin(), counts.end(), rows.begin(),
                 [&](std::size_t count) { return count * x.frames; });
  for (std::size_t i = 0; i < n; ++i) std::copy(bias_.begin(), bias_.end(), y.values + i * y.stride);
  constexpr bool kBounded = false;
  weight_->AddProduct(kernels, {Form::kRows, x.values, x.stride}, {Form::kRows, y.values, y.stride},
                      {rows.data(), counts.size()}, kBounded, workspace);
  activation_.Apply(kernels, y.values, n * y.stride);
}

LayerNorm::LayerNorm(std::vector<float> scale, std::vector<float> shift, std::size_t width, float epsilon)
    : Layer(width, width, {}), scale_(std::move(scale)), shift_(std::move(shift)), epsilon_(epsilon) {
  RequireSize(scale_, RoundUp(width, kStripRows));
  RequireSize(shift_, RoundUp(width, kStripRows));
}

void LayerNorm::Run(const Kernels& kernels, const Frames& x, const Frames& y, std::span<LayerState* const>,
                    Counts, Workspace&) const {
  for (std::size_t i = 0; i < x.streams * x.frames; ++i) {
    kernels.layer_norm(x.values + i * x.stride, scale_.data(), shift_.data(), epsilon_,
                       y.values + i * y.stride, x.width);
  }
}

BatchNorm::BatchNorm(std::shared_ptr<const Affines> affines)
    : Layer(affines->width(), affines->width(), {}), affines_(std::move(affines)) {}

void BatchNorm::Run(const Kernels&, const Frames& x, const Frames& y, std::span<LayerState* const>,
                    Counts counts, Workspace&) const {
  for (std::size_t b = 0; b < x.streams; ++b) {
    const Affine& affine = affines_->Of(SegmentsOf(b, counts));
    for (std::size_t t = 0; t < x.frames; ++t) affine.Apply(x.At(b, t), y.At(b, t));
  }
}

Embedding::Embedding(std::shared_ptr<const Matrix> table)
    : Layer(1, table->shape().columns, {}), table_(std::move(table)) {}

void Embedding::Run(const Kernels&, const Frames& x, const Frames& y, std::span<LayerState* const>,
                    Counts counts, Workspace&) const {
  const auto n_rows = static_cast<float>(table_->shape().rows);
  for (std::size_t b = 0; b < x.streams; ++b) {
    const std::size_t n_segments = SegmentsOf(b, counts);
    for (std::size_t t = 0; t < x.frames; ++t) {
      const float index = *x.At(b, t);
      if (index >= 0.0F && index < n_rows) {  // NaN is none
        table_->CopyRow(static_cast<std::size_t>(index), n_segments, y.At(b, t));
      } else {
        std::fill_n(y.At(b, t), y.width, 0.0F);
      }
    }
  }
}

Convolution::Convolution(const ConvolutionShape& shape, Reach reach, std::shared_ptr<const Matrix> kernel,
                         std::vector<float> bias, Activation activation)
    : Layer(shape.channels * shape.bins, kernel->shape().rows * shape.output_bins, reach),
      shape_(shape),
      kernel_(std::move(kernel)),
      bias_(std::move(bias)),
      activation_(activation) {
  RequireSize(bias_, kernel_->padded_rows());
  if (kernel_->shape().columns != shape_.channels * shape_.kernel * shape_.span) {
    throw std::invalid_argument("a convolution's kernel does not fit its shape");
  }
}

void Convolution::Unfold(const float* context, float* unfolded) const {
  const auto [channels, bins, kernel, span, padding, stride_bins, output_bins] = shape_;
  for (std::size_t b = 0; b < output_bins; ++b) {
    for (std::size_t i = 0; i < channels; ++i) {
      for (std::size_t t = 0; t < kernel; ++t) {
        const float* const plane = context + (t * channels + i) * bins;
        for (std::size_t k = 0; k < span; ++k) {
          const std::size_t bin = b * stride_bins + k;  // of the padded plane
          *unfolded++ = bin >= padding && bin - padding < bins ? plane[bin - padding] : 0.0F;
        }
      }
    }
  }
}

void Convolution::Run(const Kernels& kernels, const Frames& x, const Frames& y,
                      std::span<LayerState* const> states, Counts, Workspace& workspace) const {
  const std::size_t columns = kernel_->shape().columns, channels = kernel_->shape().rows;
  const std::size_t rows = kernel_->padded_rows(), bins = shape_.output_bins;
  const std::size_t block = std::max<std::size_t>(1, kUnfoldedRows / bins);
  float* const context = workspace.context.Get<float>(shape_.kernel * input_width());
  float* const unfolded = workspace.unfolded.Get<float>(block * bins * columns);
  float* const convolved = workspace.convolved.Get<float>(block * bins * rows);
  for (std::size_t b = 0; b < x.streams; ++b) {
    LayerState& state = *states[b];
    std::optional<Surroundings> around;
    if (state.around) around.emplace(*this, state, x, b);
    for (std::size_t begin = 0; begin < y.frames; begin += block) {
      const std::size_t n = std::min(block, y.frames - begin), n_rows = n * bins;
      for (std::size_t t = 0; t < n; ++t) {
        if (around) around->Next(context);
        Unfold(around ? context : x.At(b, begin + t), unfolded + t * bins * columns);
      }
      for (std::size_t i = 0; i < n_rows; ++i) std::copy(bias_.begin(), bias_.end(), convolved + i * rows);
      constexpr bool kBounded = false;
      kernel_->AddProduct(kernels, {Form::kRows, unfolded, columns}, {Form::kRows, convolved, rows},
                          {&n_rows, 1}, kBounded, workspace);
      activation_.Apply(kernels, convolved, n_rows * rows);
      for (std::size_t t = 0; t < n; ++t) {
        for (std::size_t o = 0; o < channels; ++o) {
          for (std::size_t i = 0; i < bins; ++i) {
            y.At(b, begin + t)[o * bins + i] = convolved[(t * bins + i) * rows + o];
          }
        }
      }
    }
  }
}

}  // namespace sparrot
