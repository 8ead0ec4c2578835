#include "network/network.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <string>
#include <tuple>

#include "layout/buffer.h"
#include "layout/strips.h"
#include "network/threads.h"
#include "network/recurrent.h"
#include "network/shared_rnn.h"
#include "network/transducer.h"
#include "python/bindings.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

template <typename T, nb::ssize_t... kShape>
using Array = nb::ndarray<T, nb::shape<kShape...>, nb::c_contig, nb::device::cpu>;
using Vector = Array<const float, -1>;
using Rows = nb::ndarray<nb::numpy, float, nb::ndim<2>, nb::c_contig>;

std::vector<float> Copied(const Vector& vector) { return {vector.data(), vector.data() + vector.size()}; }

template <class Value>
Value Named(const std::map<std::string, Value>& values, const std::string& name, const char* what) {
  const auto found = values.find(name);
  if (found == values.end()) throw std::invalid_argument(std::string("no ") + what + " `" + name + "`");
  return found->second;
}

const std::map<std::string, Activation> kActivations{
    {"identity", {Activation::Kind::kIdentity}},
    {"relu", {Activation::Kind::kClip}},
    {"clipped_relu", {Activation::Kind::kClip, 20.0F}},
    {"tanh", {Activation::Kind::kTanh}},
};
const std::map<std::string, Cell> kCells{{"lstm", Cell::kLstm}, {"gru", Cell::kGru}, {"rnn", Cell::kRnn}};

const std::map<std::string, WeightType> kTypes{
    {"F32", WeightType::kFloat32}, {"BF16", WeightType::kBFloat16}, {"I8", WeightType::kInt8}};
const std::map<std::string, Layout> kLayouts{{"strip16", Layout::kStrip16},
                                             {"dense16", Layout::kDense16},
                                             {"tile4", Layout::kTile4},
                                             {"tile8", Layout::kTile8},
                                             {"csr", Layout::kCsr}};

using Weights = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

void NewMatrix(Matrix* self, std::size_t rows, std::size_t columns, std::size_t gates, const std::string& type,
               const std::optional<Vector>& row_scales) {
  std::span<const float> scales;
  if (row_scales) scales = {row_scales->data(), row_scales->size()};
  new (self) Matrix({rows, columns, gates}, Named(kTypes, type, "type of weights"), scales);
}

void AddToMatrix(Matrix& self, const std::string& layout, const Array<const std::uint32_t, -1>& starts,
                 const Array<const std::uint16_t, -1>& columns, const Weights& values, bool check_finite) {
  const PieceArrays arrays{Named(kLayouts, layout, "layout"),
                           self.type(),
                           {starts.data(), starts.size()},
                           {columns.data(), columns.size()},
                           {static_cast<const std::byte*>(values.data()), values.nbytes()}};
  const nb::gil_scoped_release release;
  self.Add(arrays, check_finite ? Finiteness::kChecked : Finiteness::kTrusted);
}

using Direction = std::tuple<std::shared_ptr<Matrix>, std::shared_ptr<Matrix>,
                             std::optional<std::shared_ptr<Matrix>>, Vector, Vector>;

void AddRecurrent(Network& network, const std::string& cell, const std::vector<Direction>& directions) {
  std::vector<DirectionWeights> weights;
  for (const auto& [input, recurrent, projection, bias, candidate_bias] : directions) {
    weights.push_back({input, recurrent, projection.value_or(nullptr), Copied(bias), Copied(candidate_bias)});
  }
  network.Add(std::make_unique<Recurrent>(Named(kCells, cell, "cell"), std::move(weights)));
}

void AddSharedRnn(Network& network, const std::vector<std::shared_ptr<Matrix>>& matrices, const Vector& bias,
                  const std::optional<std::shared_ptr<Affines>>& affines, const std::string& activation) {
  SharedRnnWeights weights{matrices.at(0), matrices.at(1), matrices.at(2), Copied(bias), affines.value_or(nullptr)};
  network.Add(std::make_unique<SharedRnn>(std::move(weights), Named(kActivations, activation, "activation")));
}

void AddConvolution(Network& network, const std::shared_ptr<Matrix>& kernel, const Vector& bias,
                    const std::string& activation, const std::vector<std::size_t>& shape,
                    const std::vector<std::size_t>& reach) {
  const ConvolutionShape made{shape.at(0), shape.at(1), shape.at(2), shape.at(3),
                              shape.at(4), shape.at(5), shape.at(6)};
  network.Add(std::make_unique<Convolution>(made, Reach{reach.at(0), reach.at(1), reach.at(2)}, kernel,
                                            Copied(bias), Named(kActivations, activation, "activation")));
}

// Owned by the array that is returned.
Rows ToArray(std::vector<float>&& values, std::size_t width) {
  auto* const moved = new std::vector<float>(std::move(values));
  nb::capsule owner(moved, [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  return Rows(moved->data(), {moved->size() / width, width}, owner);
}

std::vector<Rows> AdvanceStreams(const std::vector<NetworkStream*>& streams,
                                 const std::vector<std::size_t>& stops) {
  if (stops.size() != streams.size()) throw std::invalid_argument("as many stops as streams are needed");
  std::vector<std::vector<float>> logits(streams.size());
  {
    const nb::gil_scoped_release release;
    Advance(streams, stops, logits);
  }
  std::vector<Rows> arrays;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    arrays.push_back(ToArray(std::move(logits[i]), streams[i]->network()->n_tokens()));
  }
  return arrays;
}

std::vector<std::pair<std::vector<float>, std::vector<float>>> CellsOf(const NetworkStream& stream,
                                                                       std::size_t layer) {
  std::vector<std::pair<std::vector<float>, std::vector<float>>> cells;
  for (const CellState& state : stream.state(layer).cells) cells.emplace_back(state.hidden, state.memory);
  return cells;
}

nb::ndarray<nb::numpy, std::uint8_t, nb::ndim<1>, nb::c_contig> NewPages(std::size_t n_bytes) {
  auto* const pages = new Buffer(n_bytes);
  nb::capsule owner(pages, [](void* p) noexcept { delete static_cast<Buffer*>(p); });
  return {pages->As<std::uint8_t>(), {n_bytes}, owner};
}

}  // namespace

void BindNetwork(nb::module_& module) {
  module.def("new_pages", &NewPages, nb::arg("n_bytes"),
             "Memory for weights, uint8 (n_bytes,): aligned to 64 bytes, in huge pages where they pay.");

  nb::class_<Matrix>(module, "Matrix")
      .def("__init__", &NewMatrix, nb::arg("rows"), nb::arg("columns"), nb::arg("gates"),
           nb::arg("type"), nb::arg("row_scales").none())
      .def("add", &AddToMatrix, nb::arg("layout"), nb::arg("starts").noconvert(),
           nb::arg("columns").noconvert(), nb::arg("values").noconvert(), nb::kw_only(),
           nb::arg("check_finite"), nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>(), nb::keep_alive<1, 5>());

  nb::class_<Affines>(module, "Affines")
      .def(nb::init<std::size_t, std::size_t>(), nb::arg("size"), nb::arg("repeat"))
      .def("add",
           [](Affines& self, const Vector& scale, const Vector& shift) {
             self.Add({scale.data(), scale.size()}, {shift.data(), shift.size()});
           },
           nb::arg("scale"), nb::arg("shift"));

  nb::class_<Network>(module, "Network")
      .def("__init__",
           [](Network* self, std::size_t width, const std::optional<std::string>& isa) {
             new (self) Network(isa ? NamedKernels(*isa) : ChosenKernels(), width);
           },
           nb::arg("input_width"), nb::arg("isa").none() = nb::none())
      .def_prop_ro("isa", [](const Network& self) { return std::string(self.kernels().name); })
      .def("add_window",
           [](Network& self, std::size_t left, std::size_t right, std::size_t stride) {
             self.Add(std::make_unique<Window>(self.n_tokens(), Reach{left, right, stride}));
           })
      .def("add_linear",
           [](Network& self, const std::shared_ptr<Matrix>& weight, const Vector& bias,
              const std::string& activation) {
             self.Add(std::make_unique<Linear>(weight, Copied(bias),
                                               Named(kActivations, activation, "activation")));
           })
      .def("add_embedding",
           [](Network& self, const std::shared_ptr<Matrix>& table) {
             self.Add(std::make_unique<Embedding>(table));
           })
      .def("add_batch_norm",
           [](Network& self, const std::shared_ptr<Affines>& affines) {
             self.Add(std::make_unique<BatchNorm>(affines));
           })
      .def("add_layer_norm",
           [](Network& self, const Vector& scale, const Vector& shift, float epsilon) {
             self.Add(std::make_unique<LayerNorm>(Copied(scale), Copied(shift), self.n_tokens(), epsilon));
           })
      .def("add_convolution", &AddConvolution)
      .def("add_recurrent", &AddRecurrent)
      .def("add_shared_rnn", &AddSharedRnn, nb::arg("matrices"), nb::arg("bias"), nb::arg("affines").none(),
           nb::arg("activation"));

  module.def(
      "network_transducer",
      [](const std::shared_ptr<Network>& predictor, const std::shared_ptr<Matrix>& output, const Vector& bias)
          -> std::shared_ptr<TransducerModel> {
        return std::make_shared<NetworkTransducer>(predictor, output, Copied(bias));
      },
      nb::arg("predictor"), nb::arg("output"), nb::arg("bias"));

  nb::class_<NetworkStream>(module, "NetworkStream")
      .def(nb::init<std::shared_ptr<const Network>, std::size_t>())
      .def("reset", &NetworkStream::Reset)
      .def("push",
           [](NetworkStream& self, const Array<const float, -1, -1>& frames) {
             if (frames.shape(1) != self.network()->input_width()) {
               throw std::invalid_argument("frames of another width");
             }
             self.Push(frames.data(), frames.shape(0));
           })
      .def("finish", &NetworkStream::Finish)
      .def_prop_ro("n_ready", &NetworkStream::n_ready)
      .def("cells", &CellsOf, nb::arg("layer"));

  module.def("set_threads", &SetThreads, nb::arg("n"));
  module.def("threads", &Threads);
  module.def("advance", &AdvanceStreams, nb::arg("streams"), nb::arg("stops"),
             "Logits (n, n_tokens) of the next chunk of every stream, each at its own level; without the GIL.");
}

}  // namespace sparrot
