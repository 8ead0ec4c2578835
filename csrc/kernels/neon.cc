// NEON of 64-bit ARM, for processors without dot products of int8.
#include <arm_neon.h>

#include <bit>
#include <utility>

#include "kernels/kernels.h"
#include "kernels/tables.h"

namespace sparrot {
namespace {

#include "kernels/neon.h"

// As codes are within ±127, sums of two products fit into 16 bits.
struct PairwiseDot {
  static int32x4_t Add(int32x4_t sum, int8x16_t a, int8x16_t b) {
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
  }
};

}  // namespace

const Kernels kNeonKernels = TableOf<Int8Of<PairwiseDot>>("neon");

}  // namespace sparrot
