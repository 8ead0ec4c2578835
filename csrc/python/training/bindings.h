// One function a header of the training half: each adds its part to the module `sparrot._training`.
#pragma once

#include <nanobind/nanobind.h>

namespace sparrot {

void BindBlockLstm(nanobind::module_& module);
void BindBlockMatrix(nanobind::module_& module);
void BindEdges(nanobind::module_& module);
void BindHalfShrink(nanobind::module_& module);
void BindLattice(nanobind::module_& module);

}  // namespace sparrot
