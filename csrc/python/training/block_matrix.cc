#include "training/block_matrix.h"

#include <stdexcept>
#include <string>

#include "layout/strips.h"
#include "python/arrays.h"
#include "python/training/bindings.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

BlockMatrix New(const Array<const bool, -1, -1>& kept, std::size_t rows, std::size_t gates) {
  const GatedShape shape{rows, kept.shape(1), gates};
  if (gates > 0 && kept.shape(0) != shape.PaddedRows() / kStripRows) {
    throw std::invalid_argument("`kept` has " + std::to_string(kept.shape(0)) + " strips, and the matrix " +
                                std::to_string(shape.PaddedRows() / kStripRows));
  }
  return BlockMatrix(shape, kept.data());
}

template <class Matrix, class Values>
void CheckSizes(const BlockMatrix& blocks, const Matrix& matrix, const Values& values) {
  if (matrix.shape(0) == blocks.shape().rows && matrix.shape(1) == blocks.shape().columns &&
      values.size() == blocks.n_values()) {
    return;
  }
  throw std::invalid_argument("`matrix` or `values` is of another matrix");
}

}  // namespace

void BindBlockMatrix(nb::module_& module) {
  using nb::arg;
  nb::class_<BlockMatrix>(module, "BlockMatrix", "Which blocks of a weight matrix are kept.")
      .def("__init__",
           [](BlockMatrix* self, const Array<const bool, -1, -1>& kept, std::size_t rows, std::size_t gates) {
             new (self) BlockMatrix(New(kept, rows, gates));
           },
           arg("kept").noconvert(), arg("rows"), arg("gates"))
      .def_prop_ro("n_values", &BlockMatrix::n_values)
      .def("pack",
           [](const BlockMatrix& self, const Array<const float, -1, -1>& matrix, const Array<float, -1>& values) {
             CheckSizes(self, matrix, values);
             const nb::gil_scoped_release release;
             self.Pack(matrix.data(), values.data());
           },
           arg("matrix").noconvert(), arg("values").noconvert())
      .def("unpack",
           [](const BlockMatrix& self, const Array<const float, -1>& values, const Array<float, -1, -1>& matrix) {
             CheckSizes(self, matrix, values);
             const nb::gil_scoped_release release;
             self.Unpack(values.data(), matrix.data());
           },
           arg("values").noconvert(), arg("matrix").noconvert());
}

}  // namespace sparrot
