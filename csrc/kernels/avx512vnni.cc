// AVX-512 with dot products of int8 (VNNI) and of bfloat16 (BF16), and shuffles of bytes (VBMI).
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

// The dot product takes unsigned inputs and signed weights, so codes are packed with 128 added. Inputs alone are
// bytes side by side.
struct EncodeUnsigned : EncodeInt8<0x80> {
  static void StoreAlone(void* to, std::size_t i, Floats x) { StoreStreams(to, i, x); }
};

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

  static std::uint32_t Byte(const std::byte* x, std::size_t c) { return static_cast<std::uint32_t>(x[c]); }
  static std::uint32_t FourBytes(const std::byte* x, std::size_t c0, std::size_t c1, std::size_t c2, std::size_t c3) {
    return Byte(x, c0) | Byte(x, c1) << 8 | Byte(x, c2) << 16 | Byte(x, c3) << 24;
  }
  struct Alone {
    Alone(const std::byte* x, const Columns<4>& columns, int)
        : word(FourBytes(x, columns.at[0], columns.at[1], columns.at[2], columns.at[3])) {}
    __m512i Stream(std::size_t) const { return _mm512_set1_epi32(static_cast<int>(word)); }
    std::uint32_t word;
  };

  // Columns rise, so eight of them often lie in two lines of inputs that follow one another. Those are a table of
  // 128 bytes, in which the lowest bits of a column are its place if its first half is the line with an even
  // number.
  struct TwoGroups {
    TwoGroups(const std::byte* x, const std::uint16_t* columns) {
      const std::size_t first = columns[0], line = 64, two = ~std::size_t{127};
      if (columns[7] / line - first / line < 2) [[likely]] {
        const __m128i all = _mm_loadu_si128(reinterpret_cast<const __m128i*>(columns));
        const __m128i low_bytes = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, -1, -1, -1, -1, -1, -1, -1, -1);
        const __m512i places = _mm512_castsi128_si512(_mm_shuffle_epi8(all, low_bytes));
        const __m512i even = _mm512_load_si512(x + ((first + line) & two));
        const __m512i odd = _mm512_load_si512(x + (first & two) + line);
        words = _mm512_castsi512_si128(_mm512_permutex2var_epi8(even, places, odd));
      } else {
        const std::uint64_t low = FourBytes(x, first, columns[1], columns[2], columns[3]);
        const std::uint64_t high = FourBytes(x, columns[4], columns[5], columns[6], columns[7]);
        words = _mm_cvtsi64_si128(static_cast<long long>(low | high << 32));
      }
    }
    explicit TwoGroups(__m128i w) : words(w) {}
    static TwoGroups Consecutive(const std::byte* x) {
      return TwoGroups(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)));
    }
    __m512i First() const { return _mm512_broadcastd_epi32(words); }
    __m512i Second() const { return _mm512_broadcastd_epi32(_mm_srli_epi64(words, 32)); }
    __m128i words;
  };

  static std::int32_t Input(const std::byte* x, std::size_t c) { return static_cast<std::int32_t>(x[c]); }
  template <std::size_t kSide>
  static __m512i LoadAlone(const std::byte* x, std::size_t c) {
    const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x + c));
    if constexpr (kSide == 4) return _mm512_cvtepu8_epi32(_mm_broadcastd_epi32(codes));
    return _mm512_cvtepu8_epi32(_mm_broadcastq_epi64(codes));
  }
};

}  // namespace

const Kernels kAvx512VnniKernels{
    .name = "avx512vnni",
    .input_offset = kInputOffset,
    .max_abs = MaxAbs,
    .pack_rows = {PackRows<EncodeFloat32>, PackRows<EncodeBFloat16>, PackRows<EncodeUnsigned>},
    .pack_wide = {PackWide<EncodeFloat32>, PackWide<EncodeBFloat16>, PackWide<EncodeUnsigned>},
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
