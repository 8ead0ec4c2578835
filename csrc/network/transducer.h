// Predictor and joint network of a transducer, on the matrices and kernels of the network.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "decoder/transducer.h"
#include "network/steps.h"

namespace sparrot {

// logits = W tanh(encoder frame + predictor output) + bias
//
// Levels, states and the bits of rows are those of NetworkSteps.
class NetworkTransducer final : public TransducerModel {
 public:
  // predictor: from indices of tokens to the joint's values; it looks back only. bias: padded to whole strips.
  // Throws std::invalid_argument, with a sentence, if they do not fit together.
  NetworkTransducer(std::shared_ptr<const Network> predictor, std::shared_ptr<const Matrix> output,
                    std::vector<float> bias);

  Sizes sizes() const override { return sizes_; }
  void Start(Level level, std::span<float> state, std::span<float> output) const override;
  void Predict(std::span<const Level> levels, std::span<const std::int32_t> tokens,
               const Rows<const float>& states, const Rows<float>& next_states,
               const Rows<float>& outputs) const override;
  void Join(std::span<const Level> levels, const Rows<const float>& frames, const Rows<const float>& outputs,
            const Rows<float>& logits) const override;

 private:
  NetworkSteps predictor_;
  std::shared_ptr<const Matrix> output_;
  std::vector<float> bias_;
  Sizes sizes_;
  mutable Workspaces workspaces_;
};

}  // namespace sparrot
