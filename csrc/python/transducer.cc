#include "decoder/transducer.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "decoder/dense_transducer.h"
#include "decoder/transducer_beam.h"
#include "python/bindings.h"
#include "python/guarded.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

using Transducer = Guarded<TransducerDecoder>;
using Weights = std::map<std::string, nb::ndarray<const float, nb::c_contig, nb::device::cpu>>;

std::vector<float> Vector(const Weights& weights, const std::string& name) {
  const auto found = weights.find(name);
  if (found == weights.end() || found->second.ndim() != 1) {
    throw std::invalid_argument("a transducer needs a vector `" + name + "`");
  }
  const auto& array = found->second;
  return {array.data(), array.data() + array.size()};
}

DenseMatrix Matrix(const Weights& weights, const std::string& name) {
  const auto found = weights.find(name);
  if (found == weights.end() || found->second.ndim() != 2) {
    throw std::invalid_argument("a transducer needs a matrix `" + name + "`");
  }
  const auto& array = found->second;
  return {array.shape(0), array.shape(1), {array.data(), array.data() + array.size()}};
}

std::vector<DenseJoint> Joints(const std::vector<Weights>& levels) {
  std::vector<DenseJoint> joints;
  for (const Weights& level : levels) {
    joints.push_back({Matrix(level, "joint.encoder"), Matrix(level, "joint.predictor"),
                      Vector(level, "joint.bias"), Matrix(level, "joint.output"),
                      Vector(level, "joint.output_bias")});
  }
  return joints;
}

std::shared_ptr<TransducerModel> Lstm(const std::vector<Weights>& levels) {
  std::vector<DenseLstmTransducer::Predictor> predictors;
  for (const Weights& level : levels) {
    predictors.push_back({Matrix(level, "embedding"), Matrix(level, "input"),
                          Matrix(level, "recurrent"), Vector(level, "bias")});
  }
  return std::make_shared<DenseLstmTransducer>(std::move(predictors), Joints(levels));
}

std::shared_ptr<TransducerModel> Stateless(const std::vector<Weights>& levels) {
  std::vector<DenseStatelessTransducer::Predictor> predictors;
  for (const Weights& level : levels) {
    predictors.push_back({Matrix(level, "embedding"), Matrix(level, "taps")});
  }
  return std::make_shared<DenseStatelessTransducer>(std::move(predictors), Joints(levels));
}

using Floats = std::vector<float>;

std::pair<Floats, Floats> Start(const TransducerModel& model, Level level) {
  Floats state(model.sizes().state), output(model.sizes().output);
  model.Start(level, state, output);
  return {std::move(state), std::move(output)};
}

std::pair<Floats, Floats> Predict(const TransducerModel& model, Level level, std::int32_t token,
                                  const Floats& state) {
  const auto sizes = model.sizes();
  if (state.size() != sizes.state) throw std::invalid_argument("the state has another size");
  Floats next(sizes.state), output(sizes.output);
  model.Predict(level, {&token, 1}, {state.data(), 1, sizes.state}, {next.data(), 1, sizes.state},
                {output.data(), 1, sizes.output});
  return {std::move(next), std::move(output)};
}

Floats Join(const TransducerModel& model, Level level, const Floats& frame, const Floats& output) {
  const auto sizes = model.sizes();
  if (frame.size() != sizes.encoder || output.size() != sizes.output) {
    throw std::invalid_argument("the frame or the predictor's output has another size");
  }
  Floats logits(sizes.n_tokens);
  model.Join(level, frame, {output.data(), 1, sizes.output}, {logits.data(), 1, sizes.n_tokens});
  return logits;
}

std::unique_ptr<Transducer> Decoder(std::shared_ptr<TransducerModel> model, std::int64_t beam,
                                    double margin, std::int64_t settle_frames) {
  const TransducerOptions options{beam, margin, settle_frames};
  return std::make_unique<Transducer>(
      std::make_unique<TransducerDecoder>(std::move(model), options));
}

void Accept(Transducer& self, const FrameArray<float>& frames, Level level, double blank_penalty) {
  const Rows<const float> rows = RowsOf(frames);
  self.Do([&](TransducerDecoder& decoder) { decoder.Accept(rows, level, blank_penalty); });
}

}  // namespace

void BindTransducer(nb::module_& module) {
  nb::class_<TransducerModel>(module, "TransducerModel")
      .def_prop_ro("encoder_width",
                   [](const TransducerModel& model) { return model.sizes().encoder; })
      .def("start", &Start, nb::arg("level"))
      .def("predict", &Predict, nb::arg("level"), nb::arg("token"), nb::arg("state"))
      .def("join", &Join, nb::arg("level"), nb::arg("frame"), nb::arg("output"));
  module.def("dense_lstm_transducer", &Lstm, nb::arg("levels"));
  module.def("dense_stateless_transducer", &Stateless, nb::arg("levels"));
  nb::class_<Transducer> decoder(module, "TransducerDecoder");
  DefineSearch(decoder);
  decoder.def("accept", &Accept, nb::arg("frames").noconvert(), nb::arg("level"),
              nb::arg("blank_penalty"));
  decoder.def_prop_ro("n_predicted", [](Transducer& self) {
    return self.Do([](const TransducerDecoder& search) { return search.n_predicted(); });
  });
  module.def("transducer_decoder", &Decoder, nb::arg("model"), nb::arg("beam"), nb::arg("margin"),
             nb::arg("settle_frames"));
}

}  // namespace sparrot
