// Small transducers of dense weights, one set a level: they show what a search expects of a model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "decoder/rows.h"
#include "decoder/transducer.h"

namespace sparrot {

// Row-major.
struct DenseMatrix {
  std::size_t rows;
  std::size_t columns;
  std::vector<float> values;

  std::span<const float> Row(std::size_t row) const {
    return {values.data() + row * columns, columns};
  }
};

// logits = O tanh(E e + P p + b) + o for an encoder frame e and a predictor output p.
struct DenseJoint {
  DenseMatrix encoder;    // E [joint][encoder width]
  DenseMatrix predictor;  // P [joint][output width]
  std::vector<float> bias;
  DenseMatrix output;  // O [n_tokens][joint]
  std::vector<float> output_bias;
};

// Sums are taken in double from the first column on, and what leaves a layer is rounded to float32.
class DenseTransducer : public TransducerModel {
 public:
  void Join(std::span<const Level> levels, const Rows<const float>& frames,
            const Rows<const float>& outputs, const Rows<float>& logits) const override;

 protected:
  // Throws std::invalid_argument, with a sentence, if there is no level or shapes do not fit.
  // output: width of the predictor's output.
  DenseTransducer(std::vector<DenseJoint> joints, std::size_t output);

  // The number of a level that there is. Throws std::invalid_argument otherwise.
  std::size_t Checked(Level level) const;

  // A token that there is, as an index. Throws std::invalid_argument otherwise.
  std::size_t CheckedToken(std::int32_t token) const;

  std::size_t n_tokens() const { return joints_.front().output.rows; }
  std::size_t encoder_width() const { return joints_.front().encoder.columns; }

 private:
  std::vector<DenseJoint> joints_;  // one a level
};

// One LSTM layer over embedded tokens; its first token is the blank. A state is h, then c.
class DenseLstmTransducer final : public DenseTransducer {
 public:
  // The gates of the rows are input, forget, candidate, output.
  struct Predictor {
    DenseMatrix embedding;  // [n_tokens][embedding width]
    DenseMatrix input;      // [4 cells][embedding width]
    DenseMatrix recurrent;  // [4 cells][cells]
    std::vector<float> bias;
  };

  // Throws as DenseTransducer; one predictor and one joint a level.
  DenseLstmTransducer(std::vector<Predictor> predictors, std::vector<DenseJoint> joints);

  Sizes sizes() const override;
  void Start(Level level, std::span<float> state, std::span<float> output) const override;
  void Predict(std::span<const Level> levels, std::span<const std::int32_t> tokens,
               const Rows<const float>& states, const Rows<float>& next_states,
               const Rows<float>& outputs) const override;

 private:
  std::size_t cells() const { return predictors_.front().recurrent.columns; }
  void Step(const Predictor& predictor, std::int32_t token, std::span<const float> state,
            std::span<float> next_state) const;

  std::vector<Predictor> predictors_;
};

// p = max(0, u · V[token before] + v · V[last token]), value by value; both are the blank at first.
// A state is the last token.
class DenseStatelessTransducer final : public DenseTransducer {
 public:
  struct Predictor {
    DenseMatrix embedding;  // V [n_tokens][width]
    DenseMatrix taps;       // u, v [2][width]
  };

  // Throws as DenseTransducer; one predictor and one joint a level.
  DenseStatelessTransducer(std::vector<Predictor> predictors, std::vector<DenseJoint> joints);

  Sizes sizes() const override;
  void Start(Level level, std::span<float> state, std::span<float> output) const override;
  void Predict(std::span<const Level> levels, std::span<const std::int32_t> tokens,
               const Rows<const float>& states, const Rows<float>& next_states,
               const Rows<float>& outputs) const override;

 private:
  void Step(const Predictor& predictor, std::int32_t before, std::int32_t token,
            std::span<float> output) const;

  std::vector<Predictor> predictors_;
};

}  // namespace sparrot
