// Bidirectional recurrent layers whose directions share their input matrix and are summed.
#pragma once

#include <memory>
#include <vector>

#include "network/affines.h"
#include "network/layers.h"

namespace sparrot {

struct SharedRnnWeights {
  std::shared_ptr<const Matrix> input;
  std::shared_ptr<const Matrix> recurrent;
  std::shared_ptr<const Matrix> reverse;   // the recurrent matrix of the backward direction
  std::vector<float> bias;                 // padded to whole strips; empty with affines
  std::shared_ptr<const Affines> affines;  // of the input products; null with a bias
};

// f_t = act(a_t + recurrent · f_{t−1}),  g_t = act(a_t + reverse · g_{t+1}),  y_t = f_t + g_t
//
// with a_t = input · x_t + bias, or input · x_t scaled and shifted. It needs all frames of an utterance in one call.
class SharedRnn final : public Layer {
 public:
  SharedRnn(SharedRnnWeights weights, Activation activation);
  void Run(const Kernels& kernels, const Frames& x, const Frames& y, std::span<LayerState* const> states,
           Counts counts, Workspace& workspace) const override;

 private:
  // a of all frames: [streams][frames][padded rows].
  float* Drives(const Kernels& kernels, const Frames& x, Counts counts, Workspace& workspace) const;

  SharedRnnWeights weights_;
  Activation activation_;
};

}  // namespace sparrot
