// The tables of the instruction sets that are compiled in.
#pragma once

#include "kernels/kernels.h"

namespace sparrot {

extern const Kernels kScalarKernels;

#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512VnniKernels;
#elif defined(__aarch64__)
extern const Kernels kNeonKernels;
extern const Kernels kNeonDotKernels;
#endif

}  // namespace sparrot
