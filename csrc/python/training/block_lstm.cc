#include "training/block_lstm.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "network/threads.h"
#include "python/arrays.h"
#include "python/training/bindings.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

using Given = Array<const float, -1, -1, -1>;
using Written = Array<float, -1, -1, -1>;

void Require(bool fits, const char* name) {
  if (!fits) throw std::invalid_argument("`" + std::string(name) + "` does not fit the layer or its batch");
}

// A layer and the sizes of what it is given.
class Layer {
 public:
  Layer(const BlockMatrix& input, const BlockMatrix& recurrent, const BlockMatrix* projection,
        const std::optional<std::string>& isa)
      : matrices_{&input, &recurrent, projection}, lstm_(matrices_, isa ? NamedKernels(*isa) : ChosenKernels()) {}

  std::size_t trace_width() const { return lstm_.trace_width(); }

  void Forward(const Given& x, const std::vector<Array<const float, -1>>& values, const Array<const float, -1>& bias,
               const Written& y, const Written& trace, std::size_t threads) const {
    const LstmInput input = InputOf(x);
    const auto parts = PartsOf<const float>(values, "values");
    Require(bias.size() == 4 * lstm_.cells(), "bias");
    RequireFrames(x, y, lstm_.hidden(), "y");
    RequireFrames(x, trace, trace_width(), "trace");
    SetThreads(threads);
    const nb::gil_scoped_release release;
    lstm_.Forward(input, parts, bias.data(), y.data(), trace.data());
  }

  void Backward(const Given& x, const std::vector<Array<const float, -1>>& values, const Given& y, const Given& trace,
                const Given& d_y, const std::optional<Written>& d_x, const std::vector<Array<float, -1>>& d_values,
                const Array<float, -1>& d_bias, std::size_t threads) const {
    const LstmInput input = InputOf(x);
    const auto parts = PartsOf<const float>(values, "values");
    const LstmGradients gradients{d_x ? d_x->data() : nullptr, PartsOf<float>(d_values, "d_values"), d_bias.data()};
    Require(d_bias.size() == 4 * lstm_.cells(), "d_bias");
    RequireFrames(x, y, lstm_.hidden(), "y");
    RequireFrames(x, trace, trace_width(), "trace");
    RequireFrames(x, d_y, lstm_.hidden(), "d_y");
    if (d_x) RequireFrames(x, *d_x, lstm_.width(), "d_x");
    SetThreads(threads);
    const nb::gil_scoped_release release;
    lstm_.Backward(input, y.data(), d_y.data(), parts, trace.data(), gradients);
  }

 private:
  LstmInput InputOf(const Given& x) const {
    Require(x.shape(2) == lstm_.width(), "x");
    return {x.data(), x.shape(0), x.shape(1)};
  }

  template <class Frames>
  static void RequireFrames(const Given& x, const Frames& frames, std::size_t width, const char* name) {
    Require(frames.shape(0) == x.shape(0) && frames.shape(1) == x.shape(1) && frames.shape(2) == width, name);
  }

  template <class T, class Arrays>
  LstmParts<T> PartsOf(const Arrays& arrays, const char* name) const {
    const auto fits = [&](std::size_t i, const BlockMatrix* matrix) {
      return matrix == nullptr ? arrays.size() == i : arrays.size() > i && arrays[i].size() == matrix->n_values();
    };
    Require(fits(0, matrices_.input) && fits(1, matrices_.recurrent) && fits(2, matrices_.projection) &&
                arrays.size() <= 3, name);
    return {arrays[0].data(), arrays[1].data(), arrays.size() > 2 ? arrays[2].data() : nullptr};
  }

  LstmParts<const BlockMatrix> matrices_;
  BlockLstm lstm_;
};

}  // namespace

void BindBlockLstm(nb::module_& module) {
  using nb::arg;
  nb::class_<Layer>(module, "BlockLstm", "An LSTM layer of which some blocks are kept.")
      .def(nb::init<const BlockMatrix&, const BlockMatrix&, const BlockMatrix*, const std::optional<std::string>&>(),
           arg("input"), arg("recurrent"), arg("projection") = nb::none(), nb::kw_only(), arg("isa") = nb::none(),
           nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>())
      .def_prop_ro("trace_width", &Layer::trace_width)
      .def("forward", &Layer::Forward, arg("x").noconvert(), arg("values").noconvert(), arg("bias").noconvert(),
           arg("y").noconvert(), arg("trace").noconvert(), nb::kw_only(), arg("threads"))
      .def("backward", &Layer::Backward, arg("x").noconvert(), arg("values").noconvert(), arg("y").noconvert(),
           arg("trace").noconvert(), arg("d_y").noconvert(), arg("d_x").noconvert().none(),
           arg("d_values").noconvert(), arg("d_bias").noconvert(), nb::kw_only(), arg("threads"));
}

}  // namespace sparrot
