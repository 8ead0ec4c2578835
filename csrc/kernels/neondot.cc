// NEON with dot products of int8 (dotprod).
#include <arm_neon.h>

#include <bit>
#include <utility>

#include "kernels/kernels.h"
#include "kernels/tables.h"

namespace sparrot {
namespace {

#include "kernels/neon.h"

struct DotProduct {
  static int32x4_t Add(int32x4_t sum, int8x16_t a, int8x16_t b) { return vdotq_s32(sum, a, b); }
};

}  // namespace

const Kernels kNeonDotKernels = TableOf<Int8Of<DotProduct>>("neondot");

}  // namespace sparrot
