// AVX-512 (F, BW, DQ, VL), for processors that have no dot products of int8 and bfloat16.
#include <immintrin.h>

#include <bit>
#include <type_traits>
#include <utility>

#include "kernels/kernels.h"
#include "kernels/tables.h"

namespace sparrot {
namespace {

#include "kernels/avx512.h"

// Inputs are packed as float32 that bfloat16 holds: rounded half to even, a NaN with its quiet bit set.
struct EncodeBFloat16 {
  static constexpr bool kScaled = false;
  static Floats Scaled(Floats x, Floats) { return x; }
  static void StoreAlone(void* to, std::size_t i, Floats x) {
    const __m512i bits = _mm512_castps_si512(x.v), one = _mm512_set1_epi32(1);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
    __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 is_nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, is_nan, bits, _mm512_set1_epi32(0x400000));
    const __m512i upper = _mm512_and_si512(rounded, _mm512_set1_epi32(static_cast<int>(0xffff0000)));
    _mm512_storeu_si512(static_cast<float*>(to) + i, upper);
  }
  static void StoreStreams(void* to, std::size_t i, Floats x) { StoreAlone(to, i, x); }
};

struct BFloat16 : BFloat16Weights {
  using Packed = float;
  static constexpr std::size_t kStreams = 6;
  static constexpr std::size_t Apart(std::size_t) { return 4; }

  struct Pair {
    __m512 lower, upper;
  };
  struct Weights : Pair {
    Weights(const std::byte* values, std::size_t) {
      const __m512i words = _mm512_load_si512(values);
      lower = LowerHalves(words), upper = UpperHalves(words);
    }
  };
  template <std::size_t n>
  struct Together {
    static constexpr std::size_t kAhead = 0;
    Together(const float* inputs, const Columns<2>& columns, int shift)
        : lower(inputs + (columns.at[0] << shift)), upper(inputs + (columns.at[1] << shift)) {}
    Pair Stream(std::size_t b) const { return {_mm512_set1_ps(lower[b]), _mm512_set1_ps(upper[b])}; }
    const float *lower, *upper;
  };
  using Alone = Together<1>;
  static Sum MultiplyAdd(Sum sum, const Weights& weights, std::size_t, const Pair& input) {
    return _mm512_fmadd_ps(weights.upper, input.upper, _mm512_fmadd_ps(weights.lower, input.lower, sum));
  }

  struct WideInputs : Pair {
    WideInputs(const float* inputs, const Columns<2>& columns, int shift)
        : Pair{_mm512_loadu_ps(inputs + (columns.at[0] << shift)),
               _mm512_loadu_ps(inputs + (columns.at[1] << shift))} {}
  };
  struct WideWeights : Pair {
    explicit WideWeights(const std::byte* values) {
      const __m512i words = _mm512_set1_epi32(*reinterpret_cast<const int*>(values));
      lower = LowerHalves(words), upper = UpperHalves(words);
    }
  };
  static Sum WideMultiplyAdd(Sum sum, const WideInputs& inputs, std::size_t, const WideWeights& weights) {
    return _mm512_fmadd_ps(inputs.upper, weights.upper, _mm512_fmadd_ps(inputs.lower, weights.lower, sum));
  }

  static float Input(const float* x, std::size_t c) { return x[c]; }
  template <std::size_t kSide>
  static __m512 LoadAlone(const float* x, std::size_t c) {
    return LoadAloneFloats<kSide>(x + c);
  }
  static __m512 LoadStreams(const float* x, std::size_t i) { return _mm512_loadu_ps(x + i); }
};

// Products of signed bytes come from |w| and sign(w) · x: as codes are within ±127, sums of two products fit
// into 16 bits.
struct Int8 : IntegerSums<0> {
  static constexpr std::size_t Apart(std::size_t) { return 1; }

  static __m512i Sums(__m512i unsigned_bytes, __m512i signed_bytes) {
    return _mm512_madd_epi16(_mm512_maddubs_epi16(unsigned_bytes, signed_bytes), _mm512_set1_epi16(1));
  }
  static __m512i Negated(__mmask64 which, __m512i x) {
    return _mm512_mask_sub_epi8(x, which, _mm512_setzero_si512(), x);
  }

  struct Weights {
    Weights(const std::byte* values, std::size_t) : Weights(_mm512_load_si512(values)) {}
    explicit Weights(__m512i w) : magnitudes(_mm512_abs_epi8(w)), negative(_mm512_movepi8_mask(w)) {}
    __m512i magnitudes;
    __mmask64 negative;
  };
  static Sum MultiplyAdd(Sum sum, const Weights& weights, std::size_t, __m512i input) {
    return _mm512_add_epi32(sum, Sums(weights.magnitudes, Negated(weights.negative, input)));
  }

  struct WideInputs : IntegerSums<0>::WideInputs {
    WideInputs(const std::byte* inputs, const Columns<4>& columns, int shift)
        : IntegerSums<0>::WideInputs(inputs, columns, shift), as_weights(x) {}
    Weights as_weights;  // the sign may go to either factor
  };
  struct WideWeights {
    explicit WideWeights(const std::byte* values) : w(_mm512_set1_epi32(LoadWord(values))) {}
    __m512i w;
  };
  static Sum WideMultiplyAdd(Sum sum, const WideInputs& inputs, std::size_t, const WideWeights& weights) {
    return MultiplyAdd(sum, inputs.as_weights, 0, weights.w);
  }
};

}  // namespace

const Kernels kAvx512Kernels{
    .name = "avx512",
    .input_offset = 0,
    .max_abs = MaxAbs,
    .pack_rows = {PackRows<EncodeFloat32>, PackRows<EncodeBFloat16>, PackRows<EncodeInt8<0>>},
    .pack_wide = {PackWide<EncodeFloat32>, PackWide<EncodeBFloat16>, PackWide<EncodeInt8<0>>},
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
