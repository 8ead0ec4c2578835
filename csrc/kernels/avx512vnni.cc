// AVX-512 with dot products of int8 (VNNI) and of bfloat16 (BF16).
#include <immintrin.h>

#include <bit>
#include <type_traits>
#include <utility>

#include "kernels/kernels.h"
#include "kernels/tables.h"

namespace sparrot {
namespace {

#include "kernels/avx512.h"

// An input alone is a float32 that bfloat16 holds, [0 0 x x] in memory; streams are packed as bfloat16.
struct EncodeBFloat16 {
  static constexpr bool kScaled = false;
  static Floats Scaled(Floats x, Floats) { return x; }
  static __m256i Rounded(Floats x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v)); }
  static void StoreAlone(void* to, std::size_t i, Floats x) {
    const __m512i words = _mm512_slli_epi32(_mm512_cvtepu16_epi32(Rounded(x)), 16);
    _mm512_storeu_si512(static_cast<std::byte*>(to) + 4 * i, words);
  }
  static void StoreStreams(void* to, std::size_t i, Floats x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(static_cast<std::byte*>(to) + 2 * i), Rounded(x));
  }
};

struct BFloat16 : BFloat16Weights {
  using Packed = std::uint16_t;
  static constexpr std::size_t kStreams = 8;
  static constexpr std::size_t Apart(std::size_t) { return 3; }

  static Sum Dot(Sum sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }

  struct Weights {
    Weights(const std::byte* values, std::size_t n) : w(LoadOnce(values, n)) {}
    __m512i w;
  };
  // Read two bytes into it, a word is the first column; the second is a word as it is.
  struct Alone {
    static constexpr std::size_t kAhead = 0;
    Alone(const std::uint16_t* inputs, const Columns<2>& columns, int) {
      const auto* x = reinterpret_cast<const std::byte*>(inputs);
      word = LowWord(x + 4 * columns.at[0] + 2) | LowWord(x + 4 * columns.at[1]);
    }
    __m512i Stream(std::size_t) const { return _mm512_broadcastd_epi32(word.v); }
    LowWord word = LowWord(_mm_setzero_si128());
  };
  template <std::size_t n>
  static Words InputsOfGroup(const std::uint16_t* x, const Columns<2>& columns, int shift) {
    const auto row = [&](std::size_t j) {
      const auto* p = reinterpret_cast<const __m128i*>(x + (columns.at[j] << shift));
      return n <= 4 ? _mm_loadl_epi64(p) : _mm_loadu_si128(p);
    };
    return {_mm_unpacklo_epi16(row(0), row(1)), _mm_unpackhi_epi16(row(0), row(1))};
  }
  template <std::size_t n>
  struct InRegisters : WordsInRegisters<n> {
    InRegisters(const std::uint16_t* x, const Columns<2>& columns, int shift)
        : WordsInRegisters<n>{InputsOfGroup<n>(x, columns, shift)} {}
    template <class B>
    __m512i Stream(B b) const {
      return _mm512_broadcastd_epi32(this->Word(b));
    }
  };
  template <std::size_t n>
  struct InMemory : WordsInMemory<n> {
    using Gathered = typename WordsInMemory<n>::Gathered;
    static void Gather(const std::uint16_t* x, const Columns<2>& columns, int shift, Gathered& to) {
      to.Store(InputsOfGroup<n>(x, columns, shift));
    }
    explicit InMemory(const Gathered& gathered) : WordsInMemory<n>{gathered.at} {}
    __m512i Stream(std::size_t b) const { return _mm512_set1_epi32(this->Word(b)); }
  };
  template <std::size_t n>
  using Together = std::conditional_t<(n <= 3), InRegisters<n>, InMemory<n>>;

  static Sum MultiplyAdd(Sum sum, const Weights& weights, std::size_t, __m512i input) {
    return Dot(sum, weights.w, input);
  }

  struct WideInputs {
    WideInputs(const std::uint16_t* inputs, const Columns<2>& columns, int shift) {
      const auto row = [&](std::size_t j) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(inputs + (columns.at[j] << shift)));
      };
      const __m512i rows = _mm512_inserti64x4(_mm512_castsi256_si512(row(0)), row(1), 1);
      alignas(64) static constexpr std::uint16_t kInTurn[32] = {
          0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
          8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
      x = _mm512_permutexvar_epi16(_mm512_load_si512(kInTurn), rows);
    }
    __m512i x;
  };
  struct WideWeights {
    explicit WideWeights(const std::byte* values) : w(_mm512_set1_epi32(LoadWord(values))) {}
    __m512i w;
  };
  static Sum WideMultiplyAdd(Sum sum, const WideInputs& inputs, std::size_t, const WideWeights& weights) {
    return Dot(sum, inputs.x, weights.w);
  }

  static float Input(const std::uint16_t* x, std::size_t c) {
    return reinterpret_cast<const float*>(x)[c];
  }
  template <std::size_t kSide>
  static __m512 LoadAlone(const std::uint16_t* x, std::size_t c) {
    return LoadAloneFloats<kSide>(reinterpret_cast<const float*>(x) + c);
  }
  static __m512 LoadStreams(const std::uint16_t* x, std::size_t i) {
    return LowerHalves(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i))));
  }
};

// The dot product takes unsigned inputs and signed weights, so codes are packed with 128 added.
struct Int8 : IntegerSums<0x80> {
  static constexpr std::size_t Apart(std::size_t n) { return n == 1 ? 8 : n <= 3 ? 4 : n <= 6 ? 2 : 1; }

  struct Weights {
    Weights(const std::byte* values, std::size_t n) : w(LoadOnce(values, n)) {}
    __m512i w;
  };
  static Sum MultiplyAdd(Sum sum, const Weights& weights, std::size_t, __m512i input) {
    return _mm512_dpbusd_epi32(sum, input, weights.w);
  }
  struct WideWeights {
    explicit WideWeights(const std::byte* values) : w(_mm512_set1_epi32(LoadWord(values))) {}
    __m512i w;
  };
  static Sum WideMultiplyAdd(Sum sum, const WideInputs& inputs, std::size_t, const WideWeights& weights) {
    return _mm512_dpbusd_epi32(sum, inputs.x, weights.w);
  }
};

}  // namespace

const Kernels kAvx512VnniKernels{
    .name = "avx512vnni",
    .input_offset = kInputOffset,
    .max_abs = MaxAbs,
    .pack_rows = {PackRows<EncodeFloat32>, PackRows<EncodeBFloat16>, PackRows<EncodeInt8<0x80>>},
    .pack_wide = {PackWide<EncodeFloat32>, PackWide<EncodeBFloat16>, PackWide<EncodeInt8<0x80>>},
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
