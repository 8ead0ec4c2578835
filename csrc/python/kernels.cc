#include "kernels/kernels.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "layout/buffer.h"
#include "python/arrays.h"
#include "python/bindings.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

// The functions of one value an output, or of one cell, of one instruction set. They return copies.
class Functions {
 public:
  using Vector = Array<const float, -1>;

  explicit Functions(std::string_view isa) : kernels_(NamedKernels(isa)) {}

  float MaxAbs(const Vector& x) const { return kernels_.max_abs(x.data(), x.size()); }

  nb::object Tanh(const Vector& x) const {
    return Changed(x, [&](float* y) { kernels_.tanh(y, x.size()); });
  }
  nb::object Sigmoid(const Vector& x) const {
    return Changed(x, [&](float* y) { kernels_.sigmoid(y, x.size()); });
  }
  nb::object Clip(const Vector& x, float ceiling) const {
    return Changed(x, [&](float* y) { kernels_.clip(y, x.size(), ceiling); });
  }
  nb::object Add(const Vector& x, const Vector& y) const {
    CheckSize("y", y.size(), x.size());
    return Changed(y, [&](float* sum) { kernels_.add(x.data(), sum, x.size()); });
  }
  nb::object LayerNorm(const Vector& x, const Vector& scale, const Vector& shift, float epsilon) const {
    CheckSize("scale", scale.size(), x.size());
    CheckSize("shift", shift.size(), x.size());
    return Changed(x, [&](float* y) {
      kernels_.layer_norm(x.data(), scale.data(), shift.data(), epsilon, y, x.size());
    });
  }

  nb::object Transpose(const Array<const float, -1, -1>& x, std::size_t padded_rows) const {
    const std::size_t rows = x.shape(0), columns = x.shape(1);
    if (padded_rows < rows) throw std::invalid_argument("`padded_rows` is less than the rows of `x`");
    std::vector<float> to(columns * padded_rows, std::nanf(""));  // all of it must be written
    kernels_.transpose(x.data(), columns, rows, columns, to.data(), padded_rows, padded_rows);
    return NewArray(std::move(to), {columns, padded_rows});
  }

  using Cells = Array<const float, -1, -1>;
  using Gates = Array<const float, -1, -1, -1>;

  nb::tuple Lstm(const Gates& sums, const Cells& c) const {
    CheckCells(sums, c, 4);
    const Buffer aligned = Aligned(sums.data(), sums.size()), cells = Aligned(c.data(), c.size());
    const Buffer h(c.size() * sizeof(float));
    kernels_.lstm(aligned.As<float>(), cells.As<float>(), h.As<float>(), c.shape(0), c.shape(1));
    return nb::make_tuple(Copied(cells, c), Copied(h, c));
  }

  nb::object Gru(const Gates& drive, const Gates& product, const Cells& h) const {
    CheckCells(drive, h, 3);
    CheckCells(product, h, 3);
    const Buffer d = Aligned(drive.data(), drive.size()), p = Aligned(product.data(), product.size());
    const Buffer state = Aligned(h.data(), h.size());
    kernels_.gru(d.As<float>(), p.As<float>(), state.As<float>(), h.shape(0), h.shape(1));
    return Copied(state, h);
  }

 private:
  static void CheckSize(const char* name, std::size_t size, std::size_t needed) {
    if (size == needed) return;
    throw std::invalid_argument(std::string(name) + " has " + std::to_string(size) + " values, not " +
                                std::to_string(needed));
  }

  static void CheckCells(const Gates& gates, const Cells& cells, std::size_t n_gates) {
    if (gates.shape(0) == cells.shape(0) && gates.shape(1) == n_gates &&
        gates.shape(2) == cells.shape(1) && cells.shape(1) % 16 == 0) {
      return;
    }
    throw std::invalid_argument("cells are (strips, lanes), with lanes a multiple of 16, their gates (strips, " +
                                std::to_string(n_gates) + ", lanes)");
  }

  template <typename Change>
  static nb::object Changed(const Vector& x, const Change& change) {
    std::vector<float> y(x.data(), x.data() + x.size());
    change(y.data());
    return NewArray(std::move(y), {x.size()});
  }

  static Buffer Aligned(const float* values, std::size_t n) {
    Buffer buffer(n * sizeof(float));
    std::copy_n(values, n, buffer.As<float>());
    return buffer;
  }

  static nb::object Copied(const Buffer& buffer, const Cells& like) {
    const auto* values = buffer.As<float>();
    return NewArray(std::vector<float>(values, values + like.size()), {like.shape(0), like.shape(1)});
  }

  const Kernels& kernels_;
};

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const Kernels* kernels : AvailableKernels()) names.emplace_back(kernels->name);
  return names;
}

}  // namespace

void BindKernels(nb::module_& module) {
  using nb::arg;
  module.def("available_kernels", &Names, "Instruction sets of this processor, best first.");
  module.def("chosen_kernels", [] { return std::string(ChosenKernels().name); },
             "The instruction set in use: the best, or the one that SPARROT_ISA names.");

  nb::class_<Functions>(module, "Functions", "Everything else an instruction set computes.")
      .def(nb::init<std::string_view>(), arg("isa"))
      .def("max_abs", &Functions::MaxAbs, arg("x").noconvert())
      .def("tanh", &Functions::Tanh, arg("x").noconvert())
      .def("sigmoid", &Functions::Sigmoid, arg("x").noconvert())
      .def("clip", &Functions::Clip, arg("x").noconvert(), arg("ceiling"))
      .def("add", &Functions::Add, arg("x").noconvert(), arg("y").noconvert())
      .def("layer_norm", &Functions::LayerNorm, arg("x").noconvert(), arg("scale").noconvert(),
           arg("shift").noconvert(), arg("epsilon"))
      .def("transpose", &Functions::Transpose, arg("x").noconvert(), arg("padded_rows"))
      .def("lstm", &Functions::Lstm, arg("sums").noconvert(), arg("c").noconvert())
      .def("gru", &Functions::Gru, arg("drive").noconvert(), arg("product").noconvert(),
           arg("h").noconvert());
}

}  // namespace sparrot
