// Recurrent layers: the input products of all frames at once, then one recurrent product a frame.
#pragma once

#include <memory>
#include <vector>

#include "network/layers.h"

namespace sparrot {

enum class Cell { kLstm, kGru, kRnn };

// The weights of one direction.
struct DirectionWeights {
  std::shared_ptr<const Matrix> input;
  std::shared_ptr<const Matrix> recurrent;
  std::shared_ptr<const Matrix> projection;  // null without one
  std::vector<float> bias;                   // of the strips of `input`
  std::vector<float> candidate_bias;         // of a GRU: of one gate's strips
};

// One recurrent layer, in one direction or in both; two directions are side by side, forward first.
//
// Backward layers need all frames of an utterance in one call.
class Recurrent final : public Layer {
 public:
  Recurrent(Cell cell, std::vector<DirectionWeights> directions);
  LayerState Fresh() const override;
  void Run(const Kernels& kernels, const Frames& x, const Frames& y, std::span<LayerState* const> states,
           Counts counts, Workspace& workspace) const override;

 private:
  // One direction over the frames, backwards in time if it is the second.
  class Pass;

  std::size_t hidden() const;       // values that are fed back
  std::size_t cell_strips() const;  // strips of one gate
  Cell cell_;
  std::size_t gates_;
  std::vector<DirectionWeights> directions_;
  std::vector<std::vector<float>> product_biases_;  // where the recurrent product of a GRU starts
};

}  // namespace sparrot
