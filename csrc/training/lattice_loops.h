// Plain loops, which the compiler makes vectors of: a file that is compiled for an instruction set includes them
// in a namespace of its own. They need -fopenmp-simd, and -fno-trapping-math for their comparisons.

// A floating-point number: what follows 1, the places of its bits, and constants of exp.
template <class Real>
struct Binary;

template <>
struct Binary<float> {
  using Bits = std::uint32_t;
  static constexpr int kMantissa = 23;
  static constexpr Bits kOne = 0x3f800000;
  static constexpr double kUnit = 0x1p-23;
  static constexpr float kLeast = -127, kToInteger = 0x1.8p23F, kLog2E = 0x1.715476p0F;
  // (2^f − 1) / f for |f| ≤ 1/2, highest power first; the relative error of 2^f is 2^-26.
  static constexpr float kPower[] = {0.00015403512745004706F, 0.0013390735477903442F, 0.009618237493774433F,
                                     0.05550357433635432F,    0.24022649794966272F,   0.69314718792669F};
};

template <>
struct Binary<double> {
  using Bits = std::uint64_t;
  static constexpr int kMantissa = 52;
  static constexpr Bits kOne = 0x3ff0000000000000;
  static constexpr double kUnit = 0x1p-52;
  static constexpr double kLeast = -1023, kToInteger = 0x1.8p52, kLog2E = 0x1.71547652b82fep0;
  // The same to 2^-55.
  static constexpr double kPower[] = {4.434771097673019e-10, 7.0737832456609726e-09, 1.0178199572961064e-07,
                                      1.3215435282329337e-06, 1.5252733493125535e-05, 0.00015403530457112037,
                                      0.0013333558146774623,  0.00961812910759412,    0.055504108664820084,
                                      0.2402265069591013,     0.6931471805599453};
};

// exp(x) = 2^k 2^f with k the integer that is nearest to x / ln 2 and f the rest. For x below 88, or 709 in double;
// zero where it would not be a normal number. NaN stays NaN.
//
// Error: relative, (2 |x| + 3) u.
template <class Real>
inline Real Exp(Real x) {
  using Own = Binary<Real>;
  const Real exponent = x * Own::kLog2E;
  const Real clamped = exponent < Own::kLeast ? Own::kLeast : exponent;
  const Real shifted = clamped + Own::kToInteger;  // k in its lowest bits
  const Real f = clamped - (shifted - Own::kToInteger);
  Real slope = 0;
  for (const Real coefficient : Own::kPower) slope = slope * f + coefficient;
  const auto bits = (__builtin_bit_cast(typename Own::Bits, shifted) << Own::kMantissa) + Own::kOne;
  const Real power = __builtin_bit_cast(Real, bits);
  return power * (f * slope) + power;
}

// log(x) = k ln 2 + log f with √½ ≤ f < √2; log f = 2 artanh(s), s = (f − 1) / (f + 1). For normal numbers; NaN
// stays NaN.
//
// Error: absolute, 2 u max(1, |log x|).
inline double Log(double x) {
  constexpr std::uint64_t kRootHalf = 0x3fe6a09e667f3bcd, kTwo52 = 0x4330000000000000, kBias = 1023;
  const auto bits = __builtin_bit_cast(std::uint64_t, x);
  const std::uint64_t biased = (bits - kRootHalf + (kBias << 52)) >> 52;  // k + 1023
  const double f = __builtin_bit_cast(double, bits - ((biased - kBias) << 52));
  const double s = (f - 1) / (f + 1), z = s * s;
  double series = 0;  // of (2 artanh(s) − 2 s) / s³, to 2^-59
  for (const double coefficient : {0.14616449685043406, 0.15331721600556042, 0.18182889125261723, 0.2222221113479508,
                                   0.28571428625975487, 0.39999999999899505, 0.666666666666667}) {
    series = series * z + coefficient;
  }
  const double k = __builtin_bit_cast(double, biased | kTwo52) - (0x1p52 + 1023);
  return k * 0.6931471805599453 + (2 * s + s * z * series) + (x - x);
}

// log(exp a + exp b), also where one of them is −∞, or both. NaN stays NaN.
inline double LogAdd(double a, double b) {
  const double high = a > b ? a : b, low = a > b ? b : a;
  const double gap = low == high ? 0 : low - high;  // −∞ less −∞ is none
  return high + Log(1 + Exp(gap));
}

template <class Real>
void Normalise(const Real* logits, std::size_t nodes, std::size_t n_tokens, Normaliser<Real>* normalisers,
               Real* log_sums) {
  for (std::size_t i = 0; i < nodes; ++i) {
    const Real* row = logits + i * n_tokens;
    Real largest = row[0], sum = 0;
#pragma omp simd reduction(max : largest)
    for (std::size_t k = 0; k < n_tokens; ++k) largest = row[k] > largest ? row[k] : largest;
#pragma omp simd reduction(+ : sum)
    for (std::size_t k = 0; k < n_tokens; ++k) sum += Exp(row[k] - largest);
    normalisers[i] = {largest, sum};
    log_sums[i] = sum;
  }
#pragma omp simd
  for (std::size_t i = 0; i < nodes; ++i) log_sums[i] = static_cast<Real>(Log(log_sums[i]));
}

template <class Real>
void Descend(const Real* logits, std::size_t n_tokens, const Normaliser<Real>& normaliser, Real total, Real* to) {
  if (total == 0) {
    __builtin_memset(to, 0, n_tokens * sizeof(Real));
    return;
  }
  const Real largest = normaliser.largest, scale = -total / normaliser.sum;
#pragma omp simd
  for (std::size_t k = 0; k < n_tokens; ++k) to[k] = scale * Exp(logits[k] - largest);
}

inline void Advance(const double* before, const double* blank, const double* label, double* to, std::size_t n) {
  const double *left = before - 1, *left_label = label - 1;
#pragma omp simd
  for (std::size_t i = 0; i < n; ++i) to[i] = LogAdd(before[i] + blank[i], left[i] + left_label[i]);
}

inline void Retreat(const double* after, double* blank, double* label, double* to, std::size_t n) {
  const double* right = after + 1;
#pragma omp simd
  for (std::size_t i = 0; i < n; ++i) {
    blank[i] += after[i];
    label[i] += right[i];
    to[i] = LogAdd(blank[i], label[i]);
  }
}

inline void Occupy(const double* before, double loss, double* edge, std::size_t n) {
#pragma omp simd
  for (std::size_t i = 0; i < n; ++i) edge[i] = -Exp(before[i] + edge[i] + loss);
}

inline double Share(double p, double log_p, double log_q) { return p == 0 ? 0 : p * (log_p - log_q); }

template <class Real>
double Diverge(const Real* student, const Real* teacher, std::size_t nodes, Real* gradient) {
  constexpr double kMost = 1 - Binary<Real>::kUnit;
  double divergence = 0;
#pragma omp simd reduction(+ : divergence)
  for (std::size_t i = 0; i < nodes; ++i) {
    const double log_q0 = student[2 * i], log_q1 = student[2 * i + 1], log_p0 = teacher[2 * i],
                 log_p1 = teacher[2 * i + 1];
    const double q0 = Exp(log_q0), q1 = Exp(log_q1), p0 = Exp(log_p0), p1 = Exp(log_p1);
    const double q_rest = 1 - (q0 + q1 > kMost ? kMost : q0 + q1), p_rest = 1 - (p0 + p1 > kMost ? kMost : p0 + p1);
    divergence += Share(p0, log_p0, log_q0) + Share(p1, log_p1, log_q1) + p_rest * (Log(p_rest) - Log(q_rest));
    gradient[2 * i] = static_cast<Real>(p_rest / q_rest * q0 - p0);
    gradient[2 * i + 1] = static_cast<Real>(p_rest / q_rest * q1 - p1);
  }
  return divergence;
}
