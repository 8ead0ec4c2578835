// What is computed value by value, over a vector Floats of an instruction set, with
//
//   kLanes; Set(x), Load(p), LoadSome(p, n), Store(p), StoreSome(p, n), the latter two with n ≤ kLanes
//   + − · /, MultiplyAdd(a, b, c) = a·b + c, Sqrt, Abs, Max and Min, which are b where one of them is NaN
//   FromIntegers(p), Sum(x), Largest(x), Transpose(lines)
//   Round(x) to the nearest integer, PowerOf2(x) of an integer in −30 … 0, WithSignOf(magnitude, x)

// Calls change(i, load, store) for vectors that cover 0 … n − 1, the last of them in part.
template <class Change>
inline void ForVectors(std::size_t n, const Change& change) {
  std::size_t i = 0;
  for (; i + Floats::kLanes <= n; i += Floats::kLanes) {
    change(i, [](const float* p) { return Floats::Load(p); }, [](Floats v, float* p) { v.Store(p); });
  }
  if (i == n) return;
  change(i, [rest = n - i](const float* p) { return Floats::LoadSome(p, rest); },
         [rest = n - i](Floats v, float* p) { v.StoreSome(p, rest); });
}

// m = exp(−2 |x|) − 1 = 2^k (2^f − 1) + (2^k − 1), in −1 … 0, with k the nearest integer of −2 |x| / ln 2 and f the
// rest; (2^f − 1) / f is a polynomial, fitted to a relative error of 2^-26 for |f| ≤ 1/2. From −30 on, 2^k does
// not count. NaN stays NaN.
inline Floats DecayOf(Floats x) {
  const Floats exponent = Floats::Max(Floats::Set(-30), Floats::Abs(x) * Floats::Set(-2.885390081777927F));
  const Floats whole = Floats::Round(exponent), f = exponent - whole;
  Floats slope = Floats::Set(0.00015403512745004706F);
  for (const float coefficient : {0.0013390735477903442F, 0.009618237493774433F, 0.05550357433635432F,
                                  0.24022649794966272F, 0.69314718792669F}) {
    slope = Floats::MultiplyAdd(f, slope, Floats::Set(coefficient));
  }
  const Floats power = Floats::PowerOf2(whole);
  return Floats::MultiplyAdd(power, f * slope, power - Floats::Set(1));
}

// tanh |x| = −m / (m + 2)
//
// Error: rounding takes the absolute one to 2.6 · 2^-24 and the relative one to 3.8 · 2^-24.
inline Floats TanhOf(Floats x) {
  const Floats m = DecayOf(x);
  return Floats::WithSignOf((Floats::Set(0) - m) / (m + Floats::Set(2)), x);
}

inline Floats SigmoidOf(Floats x) {
  const Floats half = Floats::Set(0.5F);
  return Floats::MultiplyAdd(half, TanhOf(half * x), half);
}

// σ(x) tanh(y) in one division: σ(x) = (m + 2 ± |m|) / 2 / (m + 2) with the m of x / 2 and the sign of x.
inline Floats SigmoidTimesTanh(Floats x, Floats y) {
  const Floats zero = Floats::Set(0), half = Floats::Set(0.5F), two = Floats::Set(2);
  const Floats m = DecayOf(half * x), n = DecayOf(y), below_x = m + two, below_y = n + two;
  const Floats above_x = half * (below_x + Floats::WithSignOf(zero - m, x));
  return above_x * Floats::WithSignOf(zero - n, y) / (below_x * below_y);
}

inline void Tanh(float* x, std::size_t n) {
  ForVectors(n, [x](std::size_t i, auto load, auto store) { store(TanhOf(load(x + i)), x + i); });
}

inline void Sigmoid(float* x, std::size_t n) {
  ForVectors(n, [x](std::size_t i, auto load, auto store) { store(SigmoidOf(load(x + i)), x + i); });
}

inline void Clip(float* x, std::size_t n, float ceiling) {
  ForVectors(n, [=](std::size_t i, auto load, auto store) {
    store(Floats::Min(Floats::Set(ceiling), Floats::Max(Floats::Set(0), load(x + i))), x + i);
  });
}

inline void Add(const float* x, float* y, std::size_t n) {
  ForVectors(n, [=](std::size_t i, auto load, auto store) { store(load(y + i) + load(x + i), y + i); });
}

inline float MaxAbs(const float* x, std::size_t n) {
  Floats largest = Floats::Set(0);
  ForVectors(n, [&](std::size_t i, auto load, auto) {
    largest = Floats::Max(Floats::Abs(load(x + i)), largest);  // NaN is passed over
  });
  return Floats::Largest(largest);
}

inline void AddScaledRows(const std::int32_t* sums, const float* row_scales, float x_scale, float* y,
                          std::size_t n) {
  const Floats scale = Floats::Set(x_scale);
  std::size_t i = 0;
  for (; i + Floats::kLanes <= n; i += Floats::kLanes) {
    const Floats scales = Floats::Load(row_scales + i) * scale;
    (Floats::Load(y + i) + Floats::FromIntegers(sums + i) * scales).Store(y + i);
  }
  for (; i < n; ++i) y[i] += static_cast<float>(sums[i]) * (row_scales[i] * x_scale);
}

inline void AddScaledWide(const std::int32_t* sums, std::size_t sums_stride, const float* row_scales,
                          const float* x_scales, float* y, std::size_t y_stride, std::size_t rows,
                          std::size_t n) {
  for (std::size_t i = 0; i < rows; ++i) {
    AddScaledRows(sums + i * sums_stride, x_scales, row_scales[i], y + i * y_stride, n);
  }
}

inline void FillWide(const void* values, void* to, std::size_t to_stride, std::size_t rows, std::size_t n) {
  for (std::size_t i = 0; i < rows; ++i) {
    const Floats value = Floats::Set(static_cast<const float*>(values)[i]);  // moved, never computed with
    float* const row = static_cast<float*>(to) + i * to_stride;
    std::size_t b = 0;
    for (; b + Floats::kLanes <= n; b += Floats::kLanes) value.Store(row + b);
    if (b < n) value.StoreSome(row + b, n - b);
  }
}

inline void Lstm(const float* sums, float* c, float* h, std::size_t cell_strips, std::size_t lanes) {
  for (std::size_t s = 0; s < cell_strips; ++s) {
    const float* gates = sums + s * 4 * lanes;
    for (std::size_t i = 0; i < lanes; i += Floats::kLanes) {
      const Floats kept = SigmoidOf(Floats::Load(gates + lanes + i)) * Floats::Load(c + s * lanes + i);
      const Floats input = Floats::Load(gates + i), candidate = Floats::Load(gates + 2 * lanes + i);
      const Floats cell = kept + SigmoidTimesTanh(input, candidate);
      cell.Store(c + s * lanes + i);
      SigmoidTimesTanh(Floats::Load(gates + 3 * lanes + i), cell).Store(h + s * lanes + i);
    }
  }
}

inline void Gru(const float* drive, const float* product, float* h, std::size_t cell_strips,
                std::size_t lanes) {
  for (std::size_t s = 0; s < cell_strips; ++s) {
    for (std::size_t i = 0; i < lanes; i += Floats::kLanes) {
      const auto at = [&](const float* gates, std::size_t gate) {
        return Floats::Load(gates + (s * 3 + gate) * lanes + i);
      };
      const Floats reset = SigmoidOf(at(drive, 0) + at(product, 0));
      const Floats update = SigmoidOf(at(drive, 1) + at(product, 1));
      const Floats candidate = TanhOf(at(drive, 2) + reset * at(product, 2));
      const Floats state = Floats::Load(h + s * lanes + i);
      (candidate + update * (state - candidate)).Store(h + s * lanes + i);
    }
  }
}

inline void LayerNorm(const float* x, const float* scale, const float* shift, float epsilon, float* y,
                      std::size_t n) {
  const auto count = static_cast<float>(n);
  Floats sum = Floats::Set(0), squares = Floats::Set(0);
  ForVectors(n, [&](std::size_t i, auto load, auto) { sum = sum + load(x + i); });
  const Floats mean = Floats::Set(Floats::Sum(sum) / count);
  ForVectors(n, [&](std::size_t i, auto load, auto store) {
    alignas(64) float centred[Floats::kLanes] = {};
    store(load(x + i) - mean, centred);  // zeros past the last
    const Floats difference = Floats::Load(centred);
    squares = squares + difference * difference;
  });
  const float variance = Floats::Sum(squares) / count;
  const Floats inverse = Floats::Set(1) / Floats::Sqrt(Floats::Set(variance + epsilon));
  ForVectors(n, [&](std::size_t i, auto load, auto store) {
    store((load(x + i) - mean) * inverse * load(scale + i) + load(shift + i), y + i);
  });
}
