#include "training/half_shrink.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <optional>
#include <string>

#include "kernels/kernels.h"
#include "network/threads.h"
#include "python/arrays.h"
#include "python/training/bindings.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

constexpr std::size_t kPart = 1 << 16;  // weights of a task

void ShrinkHalf(const nb::ndarray<float, nb::c_contig, nb::device::cpu>& weights, float reach, std::size_t threads,
                const std::optional<std::string>& isa) {
  const HalfShrink shrink = HalfShrinkFor(isa ? NamedKernels(*isa).name : ChosenKernels().name);
  const std::size_t n = weights.size();
  SetThreads(std::min(threads, kMaxThreads));
  const nb::gil_scoped_release release;
  RunTasks((n + kPart - 1) / kPart, [&](std::size_t i) {
    shrink(weights.data() + i * kPart, std::min(kPart, n - i * kPart), reach);
  });
}

}  // namespace

void BindHalfShrink(nb::module_& module) {
  using nb::arg;
  module.def("shrink_half", &ShrinkHalf, arg("weights").noconvert(), arg("reach"), nb::kw_only(), arg("threads"),
             arg("isa") = nb::none());
}

}  // namespace sparrot
