// The functions of block_kernels.h in vectors of the compiler. A file that is compiled for an instruction set includes
// them in a namespace of its own, after
//
//   kVectorLanes  of its vectors: 4, 8 or 16
//   kLineVectors  vectors that stay in registers while blocks pass by: about half of the registers

template <std::size_t kLanes>
struct VectorOf {
  typedef float Type __attribute__((vector_size(sizeof(float) * kLanes)));
};

template <std::size_t kLanes>
using Vector = typename VectorOf<kLanes>::Type;

template <std::size_t kLanes = kVectorLanes>
inline Vector<kLanes> Load(const float* p) {
  Vector<kLanes> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <class V>
inline void Store(float* p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}

// kLines lines of kWidth values, 8 or 16, in registers.
template <std::size_t kWidth>
class Lines {
 public:
  static constexpr std::size_t kLanes = kWidth < kVectorLanes ? kWidth : kVectorLanes;
  static constexpr std::size_t kVectors = kWidth / kLanes, kLines = kLineVectors / kVectors;

  // The first n ≤ kLines of them from memory, the others as zeros.
  Lines(const float* from, std::size_t stride, std::size_t n) {
    for (std::size_t j = 0; j < kLines; ++j) {
      for (std::size_t v = 0; v < kVectors; ++v) {
        at_[j][v] = j < n ? Load<kLanes>(from + j * stride + v * kLanes) : Vector<kLanes>{};
      }
    }
  }

  // to(g)[i] += Σ_j factors(g)[j] · line j[i]   for begin ≤ g < end and i < kWidth, all in other places
  //
  // Blocks take turns, since each sum waits for the product before.
  template <class Factors, class To>
  [[gnu::always_inline]] void Pass(std::size_t begin, std::size_t end, const Factors& factors, const To& to) const {
    constexpr std::size_t kTogether = kVectors < 4 ? 4 / kVectors : 1;
    std::size_t g = begin;
    for (; g + kTogether <= end; g += kTogether) PassSome<kTogether>(g, factors, to);
    for (; g < end; ++g) PassSome<1>(g, factors, to);
  }

 private:
  template <std::size_t kTogether, class Factors, class To>
  [[gnu::always_inline]] void PassSome(std::size_t g, const Factors& factors, const To& to) const {
    const float* own[kTogether];
    float* place[kTogether];  // found once: to the compiler, a store might change where the next one goes
    Vector<kLanes> sums[kTogether][kVectors];
    for (std::size_t k = 0; k < kTogether; ++k) {
      own[k] = factors(g + k), place[k] = to(g + k);
      for (std::size_t v = 0; v < kVectors; ++v) sums[k][v] = Load<kLanes>(place[k] + v * kLanes);
    }
#pragma GCC unroll 16
    for (std::size_t j = 0; j < kLines; ++j) {
#pragma GCC unroll 4
      for (std::size_t k = 0; k < kTogether; ++k) {
#pragma GCC unroll 4
        for (std::size_t v = 0; v < kVectors; ++v) sums[k][v] += own[k][j] * at_[j][v];
      }
    }
    for (std::size_t k = 0; k < kTogether; ++k) {
      for (std::size_t v = 0; v < kVectors; ++v) Store(place[k] + v * kLanes, sums[k][v]);
    }
  }

  Vector<kLanes> at_[kLines][kVectors];
};

template <std::size_t kWidth>
void MultiplyStripBack(const Piece& piece, std::size_t strip, const float* y, float* x, std::size_t stride) {
  const auto* values = static_cast<const float*>(piece.values);
  const std::uint16_t* columns = piece.columns;
  constexpr std::size_t kLines = Lines<kWidth>::kLines;
  for (std::size_t top = 0; top < kStripRows; top += kLines) {
    Lines<kWidth>(y + (kStripRows * strip + top) * stride, stride, kLines)
        .Pass(piece.starts[strip], piece.starts[strip + 1],
              [=](std::size_t g) { return values + kStripRows * g + top; },
              [=](std::size_t g) { return x + columns[g] * stride; });
  }
}

void MultiplyBack(const Piece& piece, const float* y, float* x, std::size_t lanes) {
  for (std::size_t s = 0; s < piece.strips; ++s) {
    std::size_t b = 0;
    for (; b + 16 <= lanes; b += 16) MultiplyStripBack<16>(piece, s, y + b, x + b, lanes);
    if (b < lanes) MultiplyStripBack<8>(piece, s, y + b, x + b, lanes);
  }
}

void AddProducts(const Piece& piece, const float* y, std::size_t y_stride, const float* x, std::size_t x_stride,
                 std::size_t n, float* to) {
  const std::uint16_t* columns = piece.columns;
  constexpr std::size_t kLines = Lines<kStripRows>::kLines;
  for (std::size_t s = 0; s < piece.strips; ++s) {
    for (std::size_t b = 0; b < n; b += kLines) {
      Lines<kStripRows>(y + b * y_stride + kStripRows * s, y_stride, n - b < kLines ? n - b : kLines)
          .Pass(piece.starts[s], piece.starts[s + 1], [=](std::size_t g) { return x + columns[g] * x_stride + b; },
                [=](std::size_t g) { return to + kStripRows * g; });
    }
  }
}

void NewCell(const float* gates, const float* before, float* cell, std::size_t n) {
  for (std::size_t i = 0; i < n; i += kVectorLanes) {
    const auto gate = [&](std::size_t k) { return Load(gates + k * n + i); };
    Store(cell + i, gate(1) * Load(before + i) + gate(0) * gate(2));
  }
}

void UndoCell(const float* gates, const float* before, const float* squashed, const float* d_hidden, float* d_cell,
              float* d_gates, std::size_t n) {
  for (std::size_t i = 0; i < n; i += kVectorLanes) {
    const auto gate = [&](std::size_t k) { return Load(gates + k * n + i); };
    const auto input = gate(0), forget = gate(1), candidate = gate(2), output = gate(3);
    const auto tanh = Load(squashed + i), dh = Load(d_hidden + i);
    const auto dc = Load(d_cell + i) + dh * output * (1 - tanh * tanh);
    Store(d_gates + i, dc * candidate * input * (1 - input));
    Store(d_gates + n + i, dc * Load(before + i) * forget * (1 - forget));
    Store(d_gates + 2 * n + i, dc * input * (1 - candidate * candidate));
    Store(d_gates + 3 * n + i, dh * tanh * output * (1 - output));
    Store(d_cell + i, dc * forget);
  }
}

void Multiply(const float* a, const float* b, float* to, std::size_t n) {
  for (std::size_t i = 0; i < n; i += kVectorLanes) Store(to + i, Load(a + i) * Load(b + i));
}
