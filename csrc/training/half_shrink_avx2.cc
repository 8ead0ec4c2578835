// AVX2 with FMA.
#include <cmath>
#include <cstddef>

#include "training/half_shrink.h"

namespace sparrot {
namespace {

#include "training/half_shrink_loop.h"

}  // namespace

void HalfShrinkAvx2(float* weights, std::size_t n, float reach) { Shrink(weights, n, reach); }

}  // namespace sparrot
