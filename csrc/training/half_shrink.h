// The proximal step of the penalty Σ √|w|, which draws weights to zero.
#pragma once

#include <cstddef>
#include <string_view>

namespace sparrot {

// w ← argmin_v (v − w)² / 2 + reach √|v|, in place, for n weights (Xu et al. 2012). NaN stays NaN.
//
// Error: relative, 6 u, where the answer is not zero.
using HalfShrink = void (*)(float* weights, std::size_t n, float reach);

// The function for an instruction set as kernels.h names it.
HalfShrink HalfShrinkFor(std::string_view isa);

void HalfShrinkBaseline(float* weights, std::size_t n, float reach);
#if defined(__x86_64__)
void HalfShrinkAvx2(float* weights, std::size_t n, float reach);
void HalfShrinkAvx512(float* weights, std::size_t n, float reach);
#endif

}  // namespace sparrot
