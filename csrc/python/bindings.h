// One function a header of the core: each adds its part to the module `sparrot._core`.
#pragma once

#include <nanobind/nanobind.h>

namespace sparrot {

void BindStrips(nanobind::module_& module);

}  // namespace sparrot
