#include "training/half_shrink.h"

#include <cmath>

namespace sparrot {
namespace {

#include "training/half_shrink_loop.h"

}  // namespace

void HalfShrinkBaseline(float* weights, std::size_t n, float reach) { Shrink(weights, n, reach); }

HalfShrink HalfShrinkFor([[maybe_unused]] std::string_view isa) {
#if defined(__x86_64__)
  if (isa.starts_with("avx512")) return HalfShrinkAvx512;
  if (isa == "avx2") return HalfShrinkAvx2;
#endif
  return HalfShrinkBaseline;
}

}  // namespace sparrot
