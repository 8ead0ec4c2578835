// A plain loop, which the compiler makes vectors of, as in lattice_loops.h; its square root needs -fno-math-errno.

// v = y² w, with y the largest root of y³ − y + k = 0 and k = ½ reach |w|^−³⁄₂. Below |w| = ³⁄₂ reach^⅔, where k is
// 6^−³⁄₂ · 4, zero is better. There is y² = 1 − k P(k), with P to 2^-26.
inline void Shrink(float* weights, std::size_t n, float reach) {
  // Of P, highest power first.
  constexpr float kFactor[] = {23005.355F, -25175.86F, 12260.109F,   -3314.9382F,  560.21356F, -53.674664F,
                               5.413533F,  0.8690418F, 0.62741113F, 0.49998283F, 1.0F};
  const float half = reach / 2, least = 1.5F * std::cbrt(reach * reach);
#pragma omp simd
  for (std::size_t i = 0; i < n; ++i) {
    const float weight = weights[i], size = std::fabs(weight);
    const bool is_zero = size <= least;
    const float inverse = 1 / std::sqrt(is_zero ? least : size);
    const float k = half * inverse * inverse * inverse;
    float factor = 0;
    for (const float coefficient : kFactor) factor = factor * k + coefficient;
    weights[i] = is_zero ? 0 : weight * (1 - k * factor);
  }
}
