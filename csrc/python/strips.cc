#include "layout/strips.h"

#include <nanobind/ndarray.h>

#include "python/bindings.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

template <typename T, nb::ssize_t... kShape>
using Array = nb::ndarray<T, nb::shape<kShape...>, nb::c_contig, nb::device::cpu>;

void UnpackStrips(const Array<const std::uint32_t, -1>& starts,
                  const Array<const std::uint16_t, -1>& columns,
                  const Array<const float, -1, 16>& values,
                  const Array<float, -1, -1>& matrix, std::size_t gates, bool check_finite) {
  const StripSegment segment{{starts.data(), starts.size()},
                             {columns.data(), columns.size()},
                             {values.data(), values.size()}};
  const MatrixShape shape{matrix.shape(0), matrix.shape(1), gates};
  const nb::gil_scoped_release release;
  CheckSegment(segment, shape, check_finite ? Finiteness::kChecked : Finiteness::kTrusted);
  AddSegment(segment, shape, {matrix.data(), matrix.size()});
}

}  // namespace

void BindStrips(nb::module_& module) {
  module.def("unpack_strips", &UnpackStrips, nb::arg("starts").noconvert(),
             nb::arg("columns").noconvert(), nb::arg("values").noconvert(),
             nb::arg("matrix").noconvert(), nb::arg("gates"), nb::kw_only(),
             nb::arg("check_finite"),
             "Adds one segment of strips to a dense matrix, in place.\n\n"
             "Raises ValueError, before the matrix is touched, if an index or a size is wrong.");
}

}  // namespace sparrot
