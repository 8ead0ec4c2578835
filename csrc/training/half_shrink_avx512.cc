// AVX-512.
#include <cmath>
#include <cstddef>

#include "training/half_shrink.h"

namespace sparrot {
namespace {

#include "training/half_shrink_loop.h"

}  // namespace

void HalfShrinkAvx512(float* weights, std::size_t n, float reach) { Shrink(weights, n, reach); }

}  // namespace sparrot
