// Predictor and joint network of a transducer (Graves 2012, arXiv 1211.3711) for a search.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "decoder/hypothesis.h"
#include "decoder/rows.h"

namespace sparrot {

// All that a search asks of a network. Sizes are fixed; what is in a state or an output is the
// model's own affair: an output may well be what the joint network adds up (W_p p + b), a state h
// and c as the kernels keep them, padded to strips. Rows are dense, float32, and not aligned.
//
// Every method is a function of its arguments alone, and a row of the result of its own row: rows
// beside it may change the order of its sums and nothing else. Each row has a level, a number of
// the model's. Any number of threads may call them at a time, so scratch memory is the
// implementation's own.
class TransducerModel {
 public:
  struct Sizes {
    std::size_t n_tokens;  // blank, 0, included
    std::size_t encoder;   // of a frame
    std::size_t state;     // of the predictor after a hypothesis
    std::size_t output;    // of the predictor after a hypothesis
  };

  virtual ~TransducerModel() = default;

  virtual Sizes sizes() const = 0;

  // The predictor before the first token.
  virtual void Start(Level level, std::span<float> state, std::span<float> output) const = 0;

  // The predictor after one more token of each of n hypotheses. The tokens are never the blank.
  //   levels, tokens [n]; states, next_states [n][sizes.state]; outputs [n][sizes.output]
  virtual void Predict(std::span<const Level> levels, std::span<const std::int32_t> tokens,
                       const Rows<const float>& states, const Rows<float>& next_states,
                       const Rows<float>& outputs) const = 0;

  // Logits of the next token of n hypotheses, each at an encoder frame of its own.
  //   levels [n]; frames [n][sizes.encoder]; outputs [n][sizes.output]; logits [n][sizes.n_tokens]
  virtual void Join(std::span<const Level> levels, const Rows<const float>& frames,
                    const Rows<const float>& outputs, const Rows<float>& logits) const = 0;
};

}  // namespace sparrot
