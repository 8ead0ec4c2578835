#include "decoder/transducer.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "decoder/dense_transducer.h"
#include "decoder/transducer_beam.h"
#include "decoder/transducer_greedy.h"
#include "python/bindings.h"
#include "python/guarded.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

using Transducer = Guarded<TransducerSearch>;
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

using FloatRows = nb::ndarray<nb::numpy, float, nb::ndim<2>, nb::c_contig>;

// Rows that belong to the array in which they are returned.
class OwnRows {
 public:
  OwnRows(std::size_t n, std::size_t width) : n_(n), width_(width), values_(new float[n * width]()) {}
  Rows<float> View() const { return {values_.get(), n_, width_}; }
  FloatRows Array() && {
    float* const values = values_.release();
    nb::capsule owner(values, [](void* p) noexcept { delete[] static_cast<float*>(p); });
    return FloatRows(values, {n_, width_}, owner);
  }

 private:
  std::size_t n_, width_;
  std::unique_ptr<float[]> values_;
};

void CheckRows(const Rows<const float>& rows, std::size_t n, std::size_t width, const char* what) {
  if (rows.n != n || rows.width != width) {
    throw std::invalid_argument(std::string("a transducer takes ") + what + " (" +
                                std::to_string(n) + ", " + std::to_string(width) + "); got (" +
                                std::to_string(rows.n) + ", " + std::to_string(rows.width) + ")");
  }
}

std::pair<FloatRows, FloatRows> Start(const TransducerModel& model, Level level) {
  OwnRows state(1, model.sizes().state), output(1, model.sizes().output);
  model.Start(level, state.View()[0], output.View()[0]);
  return {std::move(state).Array(), std::move(output).Array()};
}

std::pair<FloatRows, FloatRows> Predict(const TransducerModel& model,
                                        const std::vector<Level>& levels,
                                        const std::vector<std::int32_t>& tokens,
                                        const FrameArray<float>& states) {
  const std::size_t n = levels.size();
  if (tokens.size() != n) throw std::invalid_argument("as many tokens as levels are needed");
  CheckRows(RowsOf(states), n, model.sizes().state, "states");
  OwnRows next(n, model.sizes().state), outputs(n, model.sizes().output);
  model.Predict(levels, tokens, RowsOf(states), next.View(), outputs.View());
  return {std::move(next).Array(), std::move(outputs).Array()};
}

FloatRows Join(const TransducerModel& model, const std::vector<Level>& levels,
               const FrameArray<float>& frames, const FrameArray<float>& outputs) {
  const std::size_t n = levels.size();
  CheckRows(RowsOf(frames), n, model.sizes().encoder, "frames");
  CheckRows(RowsOf(outputs), n, model.sizes().output, "outputs of its predictor");
  OwnRows logits(n, model.sizes().n_tokens);
  model.Join(levels, RowsOf(frames), RowsOf(outputs), logits.View());
  return std::move(logits).Array();
}

std::unique_ptr<Transducer> Greedy(std::shared_ptr<TransducerModel> model,
                                   std::int64_t max_symbols, std::shared_ptr<Bias> bias) {
  return std::make_unique<Transducer>(
      std::make_unique<TransducerGreedy>(std::move(model), max_symbols, std::move(bias)));
}

std::unique_ptr<Transducer> Beam(std::shared_ptr<TransducerModel> model, std::int64_t beam,
                                 double margin, std::int64_t settle_frames,
                                 std::shared_ptr<Bias> bias) {
  const TransducerBeamOptions options{beam, margin, settle_frames};
  return std::make_unique<Transducer>(
      std::make_unique<TransducerBeam>(std::move(model), options, std::move(bias)));
}

void Accept(Transducer& self, const FrameArray<float>& frames, Level level, double blank_penalty) {
  const Rows<const float> rows = RowsOf(frames);
  self.Do([&](TransducerSearch& search) { search.Accept(rows, level, blank_penalty); });
}

using Piece = std::tuple<Transducer*, FrameArray<float>, Level, double>;
using Sentences = std::vector<std::optional<std::string>>;

// Locks all searches, in an order that is the same for all callers, so that none waits for another.
Sentences AcceptAll(const std::vector<Piece>& given) {
  std::vector<TransducerPiece> pieces;
  std::vector<std::mutex*> mutexes;
  for (const auto& [search, frames, level, blank_penalty] : given) {
    pieces.push_back({&search->search(), RowsOf(frames), level, blank_penalty});
    mutexes.push_back(&search->mutex());
  }
  std::sort(mutexes.begin(), mutexes.end(), std::less<>());
  mutexes.erase(std::unique(mutexes.begin(), mutexes.end()), mutexes.end());
  const nb::gil_scoped_release release;
  std::vector<std::unique_lock<std::mutex>> locks;
  for (std::mutex* const mutex : mutexes) locks.emplace_back(*mutex);
  return AcceptTogether(pieces);
}

}  // namespace

void BindTransducer(nb::module_& module) {
  nb::class_<TransducerModel>(module, "TransducerModel")
      .def_prop_ro("encoder_width",
                   [](const TransducerModel& model) { return model.sizes().encoder; })
      .def("start", &Start, nb::arg("level"))
      .def("predict", &Predict, nb::arg("levels"), nb::arg("tokens"),
           nb::arg("states").noconvert())
      .def("join", &Join, nb::arg("levels"), nb::arg("frames").noconvert(),
           nb::arg("outputs").noconvert());
  module.def("dense_lstm_transducer", &Lstm, nb::arg("levels"));
  module.def("dense_stateless_transducer", &Stateless, nb::arg("levels"));
  nb::class_<Transducer> decoder(module, "TransducerDecoder");
  DefineSearch(decoder);
  decoder.def("accept", &Accept, nb::arg("frames").noconvert(), nb::arg("level"),
              nb::arg("blank_penalty"));
  decoder.def_prop_ro("n_predicted", [](Transducer& self) {
    return self.Do([](const TransducerSearch& search) { return search.n_predicted(); });
  });
  module.def("transducer_greedy_decoder", &Greedy, nb::arg("model"), nb::arg("max_symbols"),
             nb::arg("bias").none());
  module.def("transducer_beam_decoder", &Beam, nb::arg("model"), nb::arg("beam"),
             nb::arg("margin"), nb::arg("settle_frames"), nb::arg("bias").none());
  module.def("accept_together", &AcceptAll, nb::arg("pieces"));
}

}  // namespace sparrot
