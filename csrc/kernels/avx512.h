// What the two sets of AVX-512 kernels share.

struct Floats {
  static constexpr std::size_t kLanes = 16;
  __m512 v;

  static __mmask16 First(std::size_t n) { return static_cast<__mmask16>((1U << n) - 1); }

  static Floats Set(float x) { return {_mm512_set1_ps(x)}; }
  static Floats Load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Floats LoadSome(const float* p, std::size_t n) { return {_mm512_maskz_loadu_ps(First(n), p)}; }
  void Store(float* p) const { _mm512_storeu_ps(p, v); }
  void StoreSome(float* p, std::size_t n) const { _mm512_mask_storeu_ps(p, First(n), v); }
  friend Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Floats operator-(Floats a, Floats b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Floats operator/(Floats a, Floats b) { return {_mm512_div_ps(a.v, b.v)}; }
  static Floats MultiplyAdd(Floats a, Floats b, Floats c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static Floats Sqrt(Floats x) { return {_mm512_sqrt_ps(x.v)}; }
  static Floats Abs(Floats x) { return {_mm512_abs_ps(x.v)}; }
  static Floats Max(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; }
  static Floats Min(Floats a, Floats b) { return {_mm512_min_ps(a.v, b.v)}; }
  static Floats Round(Floats x) { return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT)}; }
  static Floats PowerOf2(Floats x) { return {_mm512_scalef_ps(_mm512_set1_ps(1), x.v)}; }
  static Floats WithSignOf(Floats magnitude, Floats x) {
    return {_mm512_or_ps(magnitude.v, _mm512_and_ps(x.v, _mm512_set1_ps(-0.0F)))};
  }
  static Floats FromIntegers(const std::int32_t* p) { return {_mm512_cvtepi32_ps(_mm512_loadu_si512(p))}; }
  static float Sum(Floats x) { return _mm512_reduce_add_ps(x.v); }
  static float Largest(Floats x) { return _mm512_reduce_max_ps(x.v); }

  // Pairs of lines are interleaved by values, by pairs, then quarters change places twice.
  static void Transpose(Floats (&lines)[kLanes]) {
    __m512 a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
      a[i] = _mm512_unpacklo_ps(lines[i].v, lines[i + 1].v);
      a[i + 1] = _mm512_unpackhi_ps(lines[i].v, lines[i + 1].v);
    }
    for (int i = 0; i < 16; i += 4) {
      for (int half = 0; half < 2; ++half) {
        const __m512d low = _mm512_castps_pd(a[i + half]), high = _mm512_castps_pd(a[i + 2 + half]);
        b[i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
        b[i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
      }
    }
    for (int i = 0; i < 4; ++i) {  // b[4 k + i]: of lines 4 k …, columns i, i + 4, i + 8, i + 12
      const __m512 even01 = _mm512_shuffle_f32x4(b[i], b[4 + i], 0x88);
      const __m512 odd01 = _mm512_shuffle_f32x4(b[i], b[4 + i], 0xdd);
      const __m512 even23 = _mm512_shuffle_f32x4(b[8 + i], b[12 + i], 0x88);
      const __m512 odd23 = _mm512_shuffle_f32x4(b[8 + i], b[12 + i], 0xdd);
      lines[i].v = _mm512_shuffle_f32x4(even01, even23, 0x88);
      lines[8 + i].v = _mm512_shuffle_f32x4(even01, even23, 0xdd);
      lines[4 + i].v = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
      lines[12 + i].v = _mm512_shuffle_f32x4(odd01, odd23, 0xdd);
    }
  }
};

#include "kernels/packing.h"
#include "kernels/pointwise.h"
#include "kernels/strips.h"
#include "kernels/tiles.h"
#include "kernels/x86.h"

// Sums of float32, whatever the weights are.
struct FloatSums {
  using Number = float;
  using Sum = __m512;
  static constexpr std::size_t kLanes = 16, kSums = 16, kVectors = 1, kWideRows = 16, kWideVectors = 1;

  static Sum Zero() { return _mm512_setzero_ps(); }
  static Sum Plus(Sum a, Sum b) { return _mm512_add_ps(a, b); }
  static void AddTo(float* y, Sum sum) { _mm512_storeu_ps(y, _mm512_add_ps(_mm512_loadu_ps(y), sum)); }
  static Sum MultiplyAddLanes(Sum sum, __m512 weights, __m512 inputs) {
    return _mm512_fmadd_ps(weights, inputs, sum);
  }
  static float MultiplyAddNumber(float sum, float weight, float input) {
    return __builtin_fmaf(weight, input, sum);
  }
};

// The weights of a group. Where several streams use them, g++ 12 would load them for each, and they come
// from far away.
inline __m512i LoadOnce(const std::byte* values, std::size_t n) {
  __m512i weights = _mm512_load_si512(values);
  if (n > 1) __asm__("" : "+v"(weights));
  return weights;
}

// Inputs of types that are packed as float32.
template <std::size_t kSide>
__m512 LoadAloneFloats(const float* x) {
  if constexpr (kSide == 4) return _mm512_broadcast_f32x4(_mm_loadu_ps(x));
  else return _mm512_broadcast_f32x8(_mm256_loadu_ps(x));
}

struct EncodeFloat32 {
  static constexpr bool kScaled = false;
  static Floats Scaled(Floats x, Floats) { return x; }
  static void StoreAlone(void* to, std::size_t i, Floats x) { x.Store(static_cast<float*>(to) + i); }
  static void StoreStreams(void* to, std::size_t i, Floats x) { StoreAlone(to, i, x); }
};

struct Float32 : FloatSums {
  using Packed = float;
  static constexpr std::size_t kColumns = 1, kStreams = 8;
  static constexpr std::size_t Apart(std::size_t) { return 2; }

  struct Weights {
    Weights(const std::byte* values, std::size_t n) : w(_mm512_castsi512_ps(LoadOnce(values, n))) {}
    __m512 w;
  };
  template <std::size_t n>
  struct Together {
    static constexpr std::size_t kAhead = 0;
    Together(const float* inputs, const Columns<1>& columns, int shift)
        : x(inputs + (columns.at[0] << shift)) {}
    __m512 Stream(std::size_t b) const { return _mm512_set1_ps(x[b]); }
    const float* x;
  };
  using Alone = Together<1>;
  static Sum MultiplyAdd(Sum sum, const Weights& weights, std::size_t, __m512 input) {
    return _mm512_fmadd_ps(weights.w, input, sum);
  }

  struct WideInputs {
    WideInputs(const float* inputs, const Columns<1>& columns, int shift)
        : x(_mm512_loadu_ps(inputs + (columns.at[0] << shift))) {}
    __m512 x;
  };
  struct WideWeights {
    explicit WideWeights(const std::byte* values) : w(_mm512_set1_ps(*reinterpret_cast<const float*>(values))) {}
    __m512 w;
  };
  static Sum WideMultiplyAdd(Sum sum, const WideInputs& inputs, std::size_t, const WideWeights& weights) {
    return _mm512_fmadd_ps(inputs.x, weights.w, sum);
  }

  static float Weight(const void* values, std::size_t i) { return static_cast<const float*>(values)[i]; }
  static float Input(const float* x, std::size_t c) { return x[c]; }
  static __m512 LoadWeights(const void* values, std::size_t i) {
    return _mm512_loadu_ps(static_cast<const float*>(values) + i);
  }
  static __m512 LoadWeight(const void* values, std::size_t i) { return _mm512_set1_ps(Weight(values, i)); }
  template <std::size_t kSide>
  static __m512 LoadAlone(const float* x, std::size_t c) {
    return LoadAloneFloats<kSide>(x + c);
  }
  static __m512 LoadStreams(const float* x, std::size_t i) { return _mm512_loadu_ps(x + i); }
};

// Codes of scaled inputs: rounded half to even, the lowest for what is no number.
inline __m512i CodesOf(Floats scaled) {
  const Floats above = Floats::Max(scaled, Floats::Set(-127));
  return _mm512_cvtps_epi32(Floats::Min(above, Floats::Set(127)).v);
}

// Codes as packed have `flip` in every one: 0x80 adds 128.
template <int kFlip>
struct EncodeInt8 {
  static constexpr bool kScaled = true;
  static Floats Scaled(Floats x, Floats inverse_scales) { return x * inverse_scales; }
  static void StoreAlone(void* to, std::size_t i, Floats x) {
    const __m512i codes = _mm512_xor_si512(CodesOf(x), _mm512_set1_epi32(kFlip));
    _mm512_storeu_si512(static_cast<std::byte*>(to) + 4 * i, _mm512_slli_epi32(codes, 24));
  }
  static void StoreStreams(void* to, std::size_t i, Floats x) {
    const __m128i codes = _mm_xor_si128(_mm512_cvtepi32_epi8(CodesOf(x)), _mm_set1_epi8(static_cast<char>(kFlip)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(static_cast<std::byte*>(to) + i), codes);
  }
};

// What int8 does with and without VNNI. Inputs alone are words with the code in front; VNNI has its own.
template <int kFlip>
struct IntegerSums {
  using Number = std::int32_t;
  using Sum = __m512i;
  using Packed = std::byte;
  static constexpr std::size_t kLanes = 16, kSums = 16, kVectors = 1, kWideRows = 16, kWideVectors = 1;
  static constexpr std::size_t kColumns = 4, kStreams = 8;

  static Sum Zero() { return _mm512_setzero_si512(); }
  static Sum Plus(Sum a, Sum b) { return _mm512_add_epi32(a, b); }
  static void AddTo(std::int32_t* y, Sum sum) {
    _mm512_storeu_si512(y, _mm512_add_epi32(_mm512_loadu_si512(y), sum));
  }

  struct Alone {
    static constexpr std::size_t kAhead = 0;
    Alone(const std::byte* x, const Columns<4>& columns, int)
        : word(AloneCodes(x, columns, [](const std::byte* p) { return LowWord(p); })) {}
    __m512i Stream(std::size_t) const { return _mm512_broadcastd_epi32(word.v); }
    LowWord word;
  };
  template <std::size_t n>
  struct CodesInRegisters : WordsInRegisters<n> {
    CodesInRegisters(const std::byte* x, const Columns<4>& columns, int shift)
        : WordsInRegisters<n>{CodesOfGroup<n>(x, columns, shift)} {}
    template <class B>
    __m512i Stream(B b) const {
      return _mm512_broadcastd_epi32(this->Word(b));
    }
  };
  template <std::size_t n>
  struct CodesInMemory : WordsInMemory<n> {
    using Gathered = typename WordsInMemory<n>::Gathered;
    static void Gather(const std::byte* x, const Columns<4>& columns, int shift, Gathered& to) {
      to.Store(CodesOfGroup<n>(x, columns, shift));
    }
    explicit CodesInMemory(const Gathered& gathered) : WordsInMemory<n>{gathered.at} {}
    __m512i Stream(std::size_t b) const { return _mm512_set1_epi32(this->Word(b)); }
  };
  template <std::size_t n>
  using Together = std::conditional_t<(n <= 6), CodesInRegisters<n>, CodesInMemory<n>>;

  // Four rows of 16 codes into 16 groups of four: words change places, then bytes in each quarter.
  struct WideInputs {
    WideInputs(const std::byte* inputs, const Columns<4>& columns, int shift) {
      const auto row = [&](std::size_t j) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(inputs + (columns.at[j] << shift)));
      };
      __m512i rows = _mm512_inserti32x4(_mm512_castsi128_si512(row(0)), row(1), 1);
      rows = _mm512_inserti32x4(_mm512_inserti32x4(rows, row(2), 2), row(3), 3);
      const __m512i words =
          _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      const __m512i bytes = _mm512_broadcast_i32x4(
          _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
      x = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(words, rows), bytes);
    }
    __m512i x;
  };

  static std::int32_t Weight(const void* values, std::size_t i) {
    return static_cast<const std::int8_t*>(values)[i];
  }
  static __m512i LoadWeights(const void* values, std::size_t i) {
    return _mm512_cvtepi8_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(static_cast<const std::int8_t*>(values) + i)));
  }
  static __m512i LoadWeight(const void* values, std::size_t i) { return _mm512_set1_epi32(Weight(values, i)); }

  static std::int32_t Input(const std::byte* x, std::size_t c) {
    return static_cast<std::int8_t>(x[4 * c + 3]);
  }
  // With nothing in the upper half of a lane, so that a multiplication of pairs is one of single numbers.
  template <std::size_t kSide>
  static __m512i LoadAlone(const std::byte* x, std::size_t c) {
    __m512i words;
    if constexpr (kSide == 4) {
      words = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + 4 * c)));
    } else {
      words = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 4 * c)));
    }
    return _mm512_srli_epi32(_mm512_srai_epi32(words, 8), 16);
  }
  static __m512i LoadStreams(const std::byte* x, std::size_t i) {
    const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i));
    if constexpr (kFlip != 0) return _mm512_cvtepu8_epi32(codes);
    return _mm512_and_si512(_mm512_cvtepi8_epi32(codes), _mm512_set1_epi32(0xffff));
  }
  static Sum MultiplyAddLanes(Sum sum, __m512i weights, __m512i inputs) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(weights, inputs));
  }
  static std::int32_t MultiplyAddNumber(std::int32_t sum, std::int32_t weight, std::int32_t input) {
    return sum + weight * input;
  }
};

// Two bfloat16 a word into two vectors of float32: the second column is the upper half.
inline __m512 LowerHalves(__m512i words) { return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16)); }
inline __m512 UpperHalves(__m512i words) {
  return _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
}

// bfloat16 weights, one a lane.
struct BFloat16Weights : FloatSums {
  static constexpr std::size_t kColumns = 2;

  static float Weight(const void* values, std::size_t i) {
    return __builtin_bit_cast(float, static_cast<const std::uint16_t*>(values)[i] << 16);
  }
  static __m512 LoadWeights(const void* values, std::size_t i) {
    return LowerHalves(_mm512_cvtepu16_epi32(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(static_cast<const std::uint16_t*>(values) + i))));
  }
  static __m512 LoadWeight(const void* values, std::size_t i) { return _mm512_set1_ps(Weight(values, i)); }
};
