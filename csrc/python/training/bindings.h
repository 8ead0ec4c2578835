// One function a header of the training half: each adds its part to the module `sparrot._training`.
#pragma once

#include <nanobind/nanobind.h>

namespace sparrot {

void BindEdges(nanobind::module_& module);
void BindLattice(nanobind::module_& module);

}  // namespace sparrot
