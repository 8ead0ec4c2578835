// An LSTM layer of which some blocks are kept, forward and back through time.
#pragma once

#include <cstddef>

#include "kernels/kernels.h"
#include "training/block_matrix.h"

namespace sparrot {

// Utterances of equally many frames, one after the other. Every array below has them in this order, row by row.
struct LstmInput {
  const float* x;  // [utterances][frames][width]
  std::size_t utterances;
  std::size_t frames;
};

// All that backward needs of forward: of each frame σ(i), σ(f), tanh(g), σ(o), c and tanh(c), every one of them padded
// to whole strips. [utterances][frames][trace_width], at a multiple of 64 bytes.
using LstmTrace = float*;

// The matrices of a layer, or one array of packed values for each of them; the projection may be null.
template <class T>
struct LstmParts {
  T* input;
  T* recurrent;
  T* projection;
};

// What backward adds to: x is like the input, or null; bias [4 · cells].
struct LstmGradients {
  float* x;
  LstmParts<float> values;
  float* bias;
};

//     i, f, g, o = W x_t + R h_t₋₁ + bias,   c_t = σ(f) c_t₋₁ + σ(i) tanh(g),   h_t = P σ(o) tanh(c_t)
//
// in which P may be left out, and h and c begin as zeros. A view of matrices.
//
// Utterances are shared out among threads, those of network/threads.h. Their number changes gradients of values and of
// the bias in rounding, and nothing else.
class BlockLstm {
 public:
  // Throws std::invalid_argument if the matrices do not fit together.
  BlockLstm(const LstmParts<const BlockMatrix>& matrices, const Kernels& kernels);

  std::size_t width() const { return matrices_.input->shape().columns; }
  std::size_t cells() const { return matrices_.input->shape().rows / kGates; }
  std::size_t hidden() const { return matrices_.recurrent->shape().columns; }
  std::size_t trace_width() const { return (kGates + 2) * padded_; }

  // Writes y [utterances][frames][hidden] and the trace. bias: [4 · cells].
  void Forward(const LstmInput& input, const LstmParts<const float>& values, const float* bias, float* y,
               LstmTrace trace) const;

  // Adds to the gradients, x apart, which is written; y and the trace are as forward left them.
  void Backward(const LstmInput& input, const float* y, const float* d_y, const LstmParts<const float>& values,
                const float* trace, const LstmGradients& gradients) const;

 private:
  static constexpr std::size_t kGates = 4;
  class Share;

  LstmParts<const BlockMatrix> matrices_;
  const Kernels& kernels_;
  std::size_t padded_;  // cells, to whole strips
};

}  // namespace sparrot
