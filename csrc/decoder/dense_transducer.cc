#include "decoder/dense_transducer.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace sparrot {
namespace {

double Product(float a, float b) { return static_cast<double>(a) * static_cast<double>(b); }

double Dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += Product(a[k], b[k]);
  return sum;
}

double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

void Require(bool holds, const std::string& what) {
  if (!holds) throw std::invalid_argument("a transducer's weights do not fit together: " + what);
}

void CheckMatrix(const DenseMatrix& matrix, std::size_t rows, std::size_t columns,
                 const std::string& name) {
  Require(rows > 0 && columns > 0 && matrix.rows == rows && matrix.columns == columns &&
              matrix.values.size() == rows * columns,
          "`" + name + "` is " + std::to_string(matrix.rows) + " × " +
              std::to_string(matrix.columns) + ", not " + std::to_string(rows) + " × " +
              std::to_string(columns));
}

void CheckVector(const std::vector<float>& vector, std::size_t size, const std::string& name) {
  Require(vector.size() == size, "`" + name + "` has " + std::to_string(vector.size()) +
                                     " values, not " + std::to_string(size));
}

}  // namespace

DenseTransducer::DenseTransducer(std::vector<DenseJoint> joints, std::size_t output)
    : joints_(std::move(joints)) {
  Require(!joints_.empty(), "there is no level");
  const DenseMatrix first = {joints_.front().encoder.rows, joints_.front().encoder.columns, {}};
  const std::size_t tokens = joints_.front().output.rows;
  Require(tokens >= 2, "the output has less than two tokens");
  for (const DenseJoint& joint : joints_) {
    CheckMatrix(joint.encoder, first.rows, first.columns, "encoder");
    CheckMatrix(joint.predictor, first.rows, output, "predictor");
    CheckVector(joint.bias, first.rows, "bias");
    CheckMatrix(joint.output, tokens, first.rows, "output");
    CheckVector(joint.output_bias, tokens, "output_bias");
  }
}

std::size_t DenseTransducer::Checked(Level level) const {
  if (level < 0 || static_cast<std::size_t>(level) >= joints_.size()) {
    throw std::invalid_argument("a transducer of " + std::to_string(joints_.size()) +
                                " levels has no level " + std::to_string(level));
  }
  return static_cast<std::size_t>(level);
}

std::size_t DenseTransducer::CheckedToken(std::int32_t token) const {
  if (token < 0 || static_cast<std::size_t>(token) >= n_tokens()) {
    throw std::invalid_argument("a transducer of " + std::to_string(n_tokens()) +
                                " tokens has no token " + std::to_string(token));
  }
  return static_cast<std::size_t>(token);
}

void DenseTransducer::Join(std::span<const Level> levels, const Rows<const float>& frames,
                           const Rows<const float>& outputs, const Rows<float>& logits) const {
  std::vector<float> hidden(joints_.front().bias.size());
  for (std::size_t i = 0; i < outputs.n; ++i) {
    const DenseJoint& joint = joints_[Checked(levels[i])];
    for (std::size_t k = 0; k < hidden.size(); ++k) {
      const double sum =
          Dot(joint.encoder.Row(k), frames[i]) + Dot(joint.predictor.Row(k), outputs[i]);
      hidden[k] = static_cast<float>(std::tanh(sum + static_cast<double>(joint.bias[k])));
    }
    for (std::size_t k = 0; k < n_tokens(); ++k) {
      const double bias = joint.output_bias[k];
      logits[i][k] = static_cast<float>(Dot(joint.output.Row(k), hidden) + bias);
    }
  }
}

DenseLstmTransducer::DenseLstmTransducer(std::vector<Predictor> predictors,
                                         std::vector<DenseJoint> joints)
    : DenseTransducer(std::move(joints),
                      predictors.empty() ? 0 : predictors.front().recurrent.columns),
      predictors_(std::move(predictors)) {
  Checked(static_cast<Level>(predictors_.size()) - 1);
  const std::size_t width = predictors_.front().embedding.columns;
  for (const Predictor& predictor : predictors_) {
    CheckMatrix(predictor.embedding, n_tokens(), width, "embedding");
    CheckMatrix(predictor.input, 4 * cells(), width, "input");
    CheckMatrix(predictor.recurrent, 4 * cells(), cells(), "recurrent");
    CheckVector(predictor.bias, 4 * cells(), "bias");
  }
}

TransducerModel::Sizes DenseLstmTransducer::sizes() const {
  return {n_tokens(), encoder_width(), 2 * cells(), cells()};
}

void DenseLstmTransducer::Start(Level level, std::span<float> state,
                                std::span<float> output) const {
  const std::vector<float> zeros(state.size(), 0.0F);
  Step(predictors_[Checked(level)], kBlank, zeros, state);
  std::copy_n(state.begin(), cells(), output.begin());
}

void DenseLstmTransducer::Predict(std::span<const Level> levels,
                                  std::span<const std::int32_t> tokens,
                                  const Rows<const float>& states, const Rows<float>& next_states,
                                  const Rows<float>& outputs) const {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    Step(predictors_[Checked(levels[i])], tokens[i], states[i], next_states[i]);
    std::copy_n(next_states[i].begin(), cells(), outputs[i].begin());
  }
}

// c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c')
void DenseLstmTransducer::Step(const Predictor& predictor, std::int32_t token,
                               std::span<const float> state, std::span<float> next_state) const {
  const std::span<const float> input = predictor.embedding.Row(CheckedToken(token));
  const std::span<const float> h = state.first(cells());
  const auto gate = [&](std::size_t number, std::size_t cell) {
    const std::size_t row = number * cells() + cell;
    const double drive =
        Dot(predictor.input.Row(row), input) + Dot(predictor.recurrent.Row(row), h);
    return drive + static_cast<double>(predictor.bias[row]);
  };
  for (std::size_t cell = 0; cell < cells(); ++cell) {
    const double c = Sigmoid(gate(1, cell)) * static_cast<double>(state[cells() + cell]) +
                     Sigmoid(gate(0, cell)) * std::tanh(gate(2, cell));
    next_state[cell] = static_cast<float>(Sigmoid(gate(3, cell)) * std::tanh(c));
    next_state[cells() + cell] = static_cast<float>(c);
  }
}

DenseStatelessTransducer::DenseStatelessTransducer(std::vector<Predictor> predictors,
                                                   std::vector<DenseJoint> joints)
    : DenseTransducer(std::move(joints),
                      predictors.empty() ? 0 : predictors.front().embedding.columns),
      predictors_(std::move(predictors)) {
  Checked(static_cast<Level>(predictors_.size()) - 1);
  const std::size_t width = predictors_.front().embedding.columns;
  for (const Predictor& predictor : predictors_) {
    CheckMatrix(predictor.embedding, n_tokens(), width, "embedding");
    CheckMatrix(predictor.taps, 2, width, "taps");
  }
}

TransducerModel::Sizes DenseStatelessTransducer::sizes() const {
  return {n_tokens(), encoder_width(), 1, predictors_.front().embedding.columns};
}

void DenseStatelessTransducer::Start(Level level, std::span<float> state,
                                     std::span<float> output) const {
  Step(predictors_[Checked(level)], kBlank, kBlank, output);
  state[0] = static_cast<float>(kBlank);
}

void DenseStatelessTransducer::Predict(std::span<const Level> levels,
                                       std::span<const std::int32_t> tokens,
                                       const Rows<const float>& states,
                                       const Rows<float>& next_states,
                                       const Rows<float>& outputs) const {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Predictor& predictor = predictors_[Checked(levels[i])];
    Step(predictor, static_cast<std::int32_t>(states[i][0]), tokens[i], outputs[i]);
    next_states[i][0] = static_cast<float>(tokens[i]);  // exact up to 2^24 tokens
  }
}

void DenseStatelessTransducer::Step(const Predictor& predictor, std::int32_t before,
                                    std::int32_t token, std::span<float> output) const {
  const DenseMatrix& taps = predictor.taps;
  const auto older = predictor.embedding.Row(CheckedToken(before));
  const auto newer = predictor.embedding.Row(CheckedToken(token));
  for (std::size_t k = 0; k < output.size(); ++k) {
    const double sum = Product(taps.Row(0)[k], older[k]) + Product(taps.Row(1)[k], newer[k]);
    output[k] = static_cast<float>(std::max(sum, 0.0));
  }
}

}  // namespace sparrot
