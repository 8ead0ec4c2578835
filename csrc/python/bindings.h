// One function a header of the core: each adds its part to the module `sparrot._core`.
#pragma once

#include <nanobind/nanobind.h>

namespace sparrot {

void BindDecoders(nanobind::module_& module);
void BindKernels(nanobind::module_& module);
void BindLanguage(nanobind::module_& module);
void BindNetwork(nanobind::module_& module);
void BindProducts(nanobind::module_& module);
void BindStrips(nanobind::module_& module);
void BindTransducer(nanobind::module_& module);

}  // namespace sparrot
