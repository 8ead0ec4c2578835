// AVX2 with FMA.
#include <immintrin.h>

#include <bit>
#include <type_traits>
#include <utility>

#include "kernels/kernels.h"
#include "kernels/tables.h"

namespace sparrot {
namespace {

struct Floats {
  static constexpr std::size_t kLanes = 8;
  __m256 v;

  static __m256i First(std::size_t n) {
    alignas(32) static constexpr std::int32_t kMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask + kLanes - n));
  }

  static Floats Set(float x) { return {_mm256_set1_ps(x)}; }
  static Floats Load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Floats LoadSome(const float* p, std::size_t n) { return {_mm256_maskload_ps(p, First(n))}; }
  void Store(float* p) const { _mm256_storeu_ps(p, v); }
  void StoreSome(float* p, std::size_t n) const { _mm256_maskstore_ps(p, First(n), v); }
  friend Floats operator+(Floats a, Floats b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend Floats operator-(Floats a, Floats b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend Floats operator*(Floats a, Floats b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend Floats operator/(Floats a, Floats b) { return {_mm256_div_ps(a.v, b.v)}; }
  static Floats MultiplyAdd(Floats a, Floats b, Floats c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static Floats Sqrt(Floats x) { return {_mm256_sqrt_ps(x.v)}; }
  static Floats Abs(Floats x) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0F), x.v)}; }
  static Floats Max(Floats a, Floats b) { return {_mm256_max_ps(a.v, b.v)}; }
  static Floats Min(Floats a, Floats b) { return {_mm256_min_ps(a.v, b.v)}; }
  static Floats Round(Floats x) {
    return {_mm256_round_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static Floats PowerOf2(Floats x) {
    const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(x.v), _mm256_set1_epi32(127));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23))};
  }
  static Floats WithSignOf(Floats magnitude, Floats x) {
    return {_mm256_or_ps(magnitude.v, _mm256_and_ps(x.v, _mm256_set1_ps(-0.0F)))};
  }
  static Floats FromIntegers(const std::int32_t* p) {
    return {_mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static float Sum(Floats x) {
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
  }
  static float Largest(Floats x) {
    __m128 largest = _mm_max_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
    largest = _mm_max_ps(largest, _mm_movehl_ps(largest, largest));
    return _mm_cvtss_f32(_mm_max_ss(largest, _mm_movehdup_ps(largest)));
  }

  // Pairs of lines are interleaved by values, then by pairs, then halves change places.
  static void Transpose(Floats (&lines)[kLanes]) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
      a[i] = _mm256_unpacklo_ps(lines[i].v, lines[i + 1].v);
      a[i + 1] = _mm256_unpackhi_ps(lines[i].v, lines[i + 1].v);
    }
    for (int i = 0; i < 8; i += 4) {
      b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
      b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
      b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
      b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    for (int i = 0; i < 4; ++i) {
      lines[i].v = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
      lines[i + 4].v = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
  }
};

#include "kernels/packing.h"
#include "kernels/pointwise.h"
#include "kernels/strips.h"
#include "kernels/tiles.h"
#include "kernels/x86.h"

// Sums of float32, whatever the weights are. Inputs are packed as float32, too.
struct FloatSums {
  using Number = float;
  using Packed = float;
  using Sum = __m256;
  static constexpr std::size_t kLanes = 8, kSums = 8, kVectors = 2, kWideRows = 4, kWideVectors = 2;

  static Sum Zero() { return _mm256_setzero_ps(); }
  static Sum Plus(Sum a, Sum b) { return _mm256_add_ps(a, b); }
  static void AddTo(float* y, Sum sum) { _mm256_storeu_ps(y, _mm256_add_ps(_mm256_loadu_ps(y), sum)); }
  static Sum MultiplyAddLanes(Sum sum, __m256 weights, __m256 inputs) {
    return _mm256_fmadd_ps(weights, inputs, sum);
  }
  static float MultiplyAddNumber(float sum, float weight, float input) {
    return __builtin_fmaf(weight, input, sum);
  }

  static float Input(const float* x, std::size_t c) { return x[c]; }
  template <std::size_t kSide>
  static __m256 LoadAlone(const float* x, std::size_t c) {
    if constexpr (kSide == 4) return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(x + c));
    else return _mm256_loadu_ps(x + c);
  }
  static __m256 LoadStreams(const float* x, std::size_t i) { return _mm256_loadu_ps(x + i); }
};

struct EncodeFloat32 {
  static constexpr bool kScaled = false;
  static Floats Scaled(Floats x, Floats) { return x; }
  static void StoreAlone(void* to, std::size_t i, Floats x) { x.Store(static_cast<float*>(to) + i); }
  static void StoreStreams(void* to, std::size_t i, Floats x) { StoreAlone(to, i, x); }
};

struct Float32 : FloatSums {
  static constexpr std::size_t kColumns = 1, kStreams = 3;
  static constexpr std::size_t Apart(std::size_t) { return 2; }

  struct Weights {
    Weights(const std::byte* values, std::size_t) {
      const auto* p = reinterpret_cast<const float*>(values);
      w[0] = _mm256_load_ps(p), w[1] = _mm256_load_ps(p + 8);
    }
    __m256 w[2];
  };
  template <std::size_t n>
  struct Together {
    static constexpr std::size_t kAhead = 0;
    Together(const float* inputs, const Columns<1>& columns, int shift)
        : x(inputs + (columns.at[0] << shift)) {}
    __m256 Stream(std::size_t b) const { return _mm256_broadcast_ss(x + b); }
    const float* x;
  };
  using Alone = Together<1>;
  static Sum MultiplyAdd(Sum sum, const Weights& weights, std::size_t v, __m256 input) {
    return _mm256_fmadd_ps(weights.w[v], input, sum);
  }

  struct WideInputs {
    WideInputs(const float* inputs, const Columns<1>& columns, int shift) {
      const float* p = inputs + (columns.at[0] << shift);
      x[0] = _mm256_loadu_ps(p), x[1] = _mm256_loadu_ps(p + 8);
    }
    __m256 x[2];
  };
  struct WideWeights {
    explicit WideWeights(const std::byte* values)
        : w(_mm256_broadcast_ss(reinterpret_cast<const float*>(values))) {}
    __m256 w;
  };
  static Sum WideMultiplyAdd(Sum sum, const WideInputs& inputs, std::size_t v, const WideWeights& weights) {
    return _mm256_fmadd_ps(inputs.x[v], weights.w, sum);
  }

  static float Weight(const void* values, std::size_t i) { return static_cast<const float*>(values)[i]; }
  static __m256 LoadWeights(const void* values, std::size_t i) {
    return _mm256_loadu_ps(static_cast<const float*>(values) + i);
  }
  static __m256 LoadWeight(const void* values, std::size_t i) {
    return _mm256_broadcast_ss(static_cast<const float*>(values) + i);
  }
};

// Inputs are packed as float32 that bfloat16 holds: rounded half to even, a NaN with its quiet bit set.
struct EncodeBFloat16 {
  static constexpr bool kScaled = false;
  static Floats Scaled(Floats x, Floats) { return x; }
  static void StoreAlone(void* to, std::size_t i, Floats x) {
    const __m256i bits = _mm256_castps_si256(x.v), one = _mm256_set1_epi32(1);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), one);
    const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256 is_nan = _mm256_cmp_ps(x.v, x.v, _CMP_UNORD_Q);
    const __m256 chosen = _mm256_blendv_ps(_mm256_castsi256_ps(rounded), _mm256_castsi256_ps(quiet), is_nan);
    const __m256 upper = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(0xffff0000)));
    _mm256_storeu_ps(static_cast<float*>(to) + i, _mm256_and_ps(chosen, upper));
  }
  static void StoreStreams(void* to, std::size_t i, Floats x) { StoreAlone(to, i, x); }
};

// Two bfloat16 a word into two vectors of float32: the second column is the upper half.
struct BFloat16 : FloatSums {
  static constexpr std::size_t kColumns = 2, kStreams = 2;
  static constexpr std::size_t Apart(std::size_t) { return 2; }

  struct Pair {
    explicit Pair(__m256i words)
        : lower(_mm256_castsi256_ps(_mm256_slli_epi32(words, 16))),
          upper(_mm256_castsi256_ps(
              _mm256_and_si256(words, _mm256_set1_epi32(static_cast<int>(0xffff0000))))) {}
    Pair(__m256 first, __m256 second) : lower(first), upper(second) {}
    __m256 lower, upper;
  };
  static Sum Dot(Sum sum, const Pair& a, const Pair& b) {
    return _mm256_fmadd_ps(a.upper, b.upper, _mm256_fmadd_ps(a.lower, b.lower, sum));
  }

  struct Weights {
    Weights(const std::byte* values, std::size_t)
        : w{Pair(_mm256_load_si256(reinterpret_cast<const __m256i*>(values))),
            Pair(_mm256_load_si256(reinterpret_cast<const __m256i*>(values) + 1))} {}
    Pair w[2];
  };
  template <std::size_t n>
  struct Together {
    static constexpr std::size_t kAhead = 0;
    Together(const float* inputs, const Columns<2>& columns, int shift)
        : lower(inputs + (columns.at[0] << shift)), upper(inputs + (columns.at[1] << shift)) {}
    Pair Stream(std::size_t b) const {
      return {_mm256_broadcast_ss(lower + b), _mm256_broadcast_ss(upper + b)};
    }
    const float *lower, *upper;
  };
  using Alone = Together<1>;
  static Sum MultiplyAdd(Sum sum, const Weights& weights, std::size_t v, const Pair& input) {
    return Dot(sum, weights.w[v], input);
  }

  struct WideInputs {
    WideInputs(const float* inputs, const Columns<2>& columns, int shift)
        : lower(inputs + (columns.at[0] << shift)), upper(inputs + (columns.at[1] << shift)) {}
    const float *lower, *upper;
  };
  struct WideWeights : Pair {
    explicit WideWeights(const std::byte* values) : Pair(_mm256_set1_epi32(LoadWord(values))) {}
  };
  static Sum WideMultiplyAdd(Sum sum, const WideInputs& inputs, std::size_t v, const WideWeights& weights) {
    return Dot(sum, {_mm256_loadu_ps(inputs.lower + 8 * v), _mm256_loadu_ps(inputs.upper + 8 * v)}, weights);
  }

  static float Weight(const void* values, std::size_t i) {
    return __builtin_bit_cast(float, static_cast<const std::uint16_t*>(values)[i] << 16);
  }
  static __m256 LoadWeights(const void* values, std::size_t i) {
    const auto* p = reinterpret_cast<const __m128i*>(static_cast<const std::uint16_t*>(values) + i);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
  }
  static __m256 LoadWeight(const void* values, std::size_t i) { return _mm256_set1_ps(Weight(values, i)); }
};

// Codes are rounded half to even, and the lowest for what is no number.
struct EncodeInt8 {
  static constexpr bool kScaled = true;
  static Floats Scaled(Floats x, Floats inverse_scales) { return x * inverse_scales; }
  static __m256i Codes(Floats scaled) {
    const Floats above = Floats::Max(scaled, Floats::Set(-127));
    return _mm256_cvtps_epi32(Floats::Min(above, Floats::Set(127)).v);
  }
  static void StoreAlone(void* to, std::size_t i, Floats x) {
    auto* p = reinterpret_cast<__m256i*>(static_cast<std::byte*>(to) + 4 * i);
    _mm256_storeu_si256(p, _mm256_slli_epi32(Codes(x), 24));
  }
  static void StoreStreams(void* to, std::size_t i, Floats x) {
    const __m256i codes = Codes(x);
    const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(static_cast<std::byte*>(to) + i), _mm_packs_epi16(halves, halves));
  }
};

// Products of signed bytes come from |w| and sign(w) · x: as codes are within ±127, sums of two products fit
// into 16 bits. Inputs alone are words with the code in front.
struct Int8 {
  using Number = std::int32_t;
  using Packed = std::byte;
  using Sum = __m256i;
  static constexpr std::size_t kLanes = 8, kSums = 8, kVectors = 2, kWideRows = 4, kWideVectors = 2;
  static constexpr std::size_t kColumns = 4, kStreams = 4;
  static constexpr std::size_t Apart(std::size_t) { return 1; }

  static Sum Zero() { return _mm256_setzero_si256(); }
  static Sum Plus(Sum a, Sum b) { return _mm256_add_epi32(a, b); }
  static void AddTo(std::int32_t* y, Sum sum) {
    auto* p = reinterpret_cast<__m256i*>(y);
    _mm256_storeu_si256(p, _mm256_add_epi32(_mm256_loadu_si256(p), sum));
  }

  struct Signed {
    explicit Signed(__m256i codes) : signs(codes), magnitudes(_mm256_abs_epi8(codes)) {}
    __m256i signs, magnitudes;
  };
  static Sum AddProducts(Sum sum, const Signed& a, __m256i b) {
    const __m256i pairs = _mm256_maddubs_epi16(a.magnitudes, _mm256_sign_epi8(b, a.signs));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }

  struct Weights {
    Weights(const std::byte* values, std::size_t)
        : w{Signed(_mm256_load_si256(reinterpret_cast<const __m256i*>(values))),
            Signed(_mm256_load_si256(reinterpret_cast<const __m256i*>(values) + 1))} {}
    Signed w[2];
  };
  struct Alone {
    static constexpr std::size_t kAhead = 0;
    Alone(const std::byte* x, const Columns<4>& columns, int)
        : word(AloneCodes(x, columns, [](const std::byte* p) { return LowWord(p); })) {}
    __m256i Stream(std::size_t) const { return _mm256_broadcastd_epi32(word.v); }
    LowWord word;
  };
  template <std::size_t n>
  struct Together : WordsInRegisters<n> {
    Together(const std::byte* x, const Columns<4>& columns, int shift)
        : WordsInRegisters<n>{CodesOfGroup<n>(x, columns, shift)} {}
    template <class B>
    __m256i Stream(B b) const {
      return _mm256_broadcastd_epi32(this->Word(b));
    }
  };
  static Sum MultiplyAdd(Sum sum, const Weights& weights, std::size_t v, __m256i input) {
    return AddProducts(sum, weights.w[v], input);
  }

  // Four rows of 16 codes into 16 groups of four. The sign may go to either factor.
  struct WideInputs {
    WideInputs(const std::byte* inputs, const Columns<4>& columns, int shift) {
      const auto row = [&](std::size_t j) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(inputs + (columns.at[j] << shift)));
      };
      const auto joined = [](__m128i a, __m128i b) {
        return _mm256_set_m128i(_mm_unpackhi_epi16(a, b), _mm_unpacklo_epi16(a, b));
      };
      x[0] = joined(_mm_unpacklo_epi8(row(0), row(1)), _mm_unpacklo_epi8(row(2), row(3)));
      x[1] = joined(_mm_unpackhi_epi8(row(0), row(1)), _mm_unpackhi_epi8(row(2), row(3)));
    }
    __m256i x[2];
  };
  struct WideWeights {
    explicit WideWeights(const std::byte* values) : w(_mm256_set1_epi32(LoadWord(values))) {}
    Signed w;
  };
  static Sum WideMultiplyAdd(Sum sum, const WideInputs& inputs, std::size_t v, const WideWeights& weights) {
    return AddProducts(sum, weights.w, inputs.x[v]);
  }

  static std::int32_t Weight(const void* values, std::size_t i) {
    return static_cast<const std::int8_t*>(values)[i];
  }
  static std::int32_t Input(const std::byte* x, std::size_t c) { return static_cast<std::int8_t>(x[4 * c + 3]); }
  static __m256i EightCodes(const void* p) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p)));
  }
  static __m256i LoadWeights(const void* values, std::size_t i) {
    return EightCodes(static_cast<const std::int8_t*>(values) + i);
  }
  static __m256i LoadWeight(const void* values, std::size_t i) { return _mm256_set1_epi32(Weight(values, i)); }

  // With nothing in the upper half of a lane, so that a multiplication of pairs is one of single numbers.
  template <std::size_t kSide>
  static __m256i LoadAlone(const std::byte* x, std::size_t c) {
    const std::byte* p = x + 4 * c;
    __m256i words;
    if constexpr (kSide == 4) {
      words = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    } else {
      words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    }
    return _mm256_srli_epi32(_mm256_srai_epi32(words, 8), 16);
  }
  static __m256i LoadStreams(const std::byte* x, std::size_t i) {
    return _mm256_and_si256(EightCodes(x + i), _mm256_set1_epi32(0xffff));
  }
  static Sum MultiplyAddLanes(Sum sum, __m256i weights, __m256i inputs) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(weights, inputs));
  }
  static std::int32_t MultiplyAddNumber(std::int32_t sum, std::int32_t weight, std::int32_t input) {
    return sum + weight * input;
  }
};

}  // namespace

const Kernels kAvx2Kernels{
    .name = "avx2",
    .input_offset = 0,
    .max_abs = MaxAbs,
    .pack_rows = {PackRows<EncodeFloat32>, PackRows<EncodeBFloat16>, PackRows<EncodeInt8>},
    .pack_wide = {PackWide<EncodeFloat32>, PackWide<EncodeBFloat16>, PackWide<EncodeInt8>},
    .multiply_rows = {Multiply<Float32, false>, Multiply<BFloat16, false>, Multiply<Int8, false>},
    .multiply_wide = {Multiply<Float32, true>, Multiply<BFloat16, true>, Multiply<Int8, true>},
    .add_scaled_rows = AddScaledRows,
    .add_scaled_wide = AddScaledWide,
    .fill_wide = FillWide,
    .transpose = Transpose,
    .lstm = Lstm,
    .gru = Gru,
    .tanh = Tanh,
    .sigmoid = Sigmoid,
    .clip = Clip,
    .add = Add,
    .layer_norm = LayerNorm,
};

}  // namespace sparrot
