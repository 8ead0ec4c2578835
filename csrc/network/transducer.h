// Predictor and joint network of a transducer, on the matrices and kernels of the network.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "decoder/transducer.h"
#include "network/network.h"

namespace sparrot {

// logits = W tanh(encoder frame + predictor output) + bias
//
// A level is a number of segments, less one. Rows of several levels are one batch, sorted as streams are. With
// int8 weights a row has the same bits in every batch; with others it has them as long as there are fewer than
// 16 rows, and is within rounding otherwise. A state is what each layer remembers, one after the other: the
// inputs that a window looks back to, h and c of a recurrent layer, padded.
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
  std::shared_ptr<const Network> predictor_;
  std::shared_ptr<const Matrix> output_;
  std::vector<float> bias_;
  Sizes sizes_;
  mutable Workspaces workspaces_;
};

}  // namespace sparrot
