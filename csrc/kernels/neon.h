// What the two sets of NEON kernels share.

struct Floats {
  static constexpr std::size_t kLanes = 4;
  float32x4_t v;

  static Floats Set(float x) { return {vdupq_n_f32(x)}; }
  static Floats Load(const float* p) { return {vld1q_f32(p)}; }
  static Floats LoadSome(const float* p, std::size_t n) {
    float some[kLanes] = {};
    for (std::size_t i = 0; i < n; ++i) some[i] = p[i];
    return Load(some);
  }
  void Store(float* p) const { vst1q_f32(p, v); }
  void StoreSome(float* p, std::size_t n) const {
    float all[kLanes];
    Store(all);
    for (std::size_t i = 0; i < n; ++i) p[i] = all[i];
  }
  friend Floats operator+(Floats a, Floats b) { return {vaddq_f32(a.v, b.v)}; }
  friend Floats operator-(Floats a, Floats b) { return {vsubq_f32(a.v, b.v)}; }
  friend Floats operator*(Floats a, Floats b) { return {vmulq_f32(a.v, b.v)}; }
  friend Floats operator/(Floats a, Floats b) { return {vdivq_f32(a.v, b.v)}; }
  static Floats MultiplyAdd(Floats a, Floats b, Floats c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
  static Floats Sqrt(Floats x) { return {vsqrtq_f32(x.v)}; }
  static Floats Abs(Floats x) { return {vabsq_f32(x.v)}; }
  static Floats Max(Floats a, Floats b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
  static Floats Min(Floats a, Floats b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
  static Floats Round(Floats x) { return {vrndnq_f32(x.v)}; }
  static Floats PowerOf2(Floats x) {
    const int32x4_t biased = vaddq_s32(vcvtnq_s32_f32(x.v), vdupq_n_s32(127));
    return {vreinterpretq_f32_s32(vshlq_n_s32(biased, 23))};
  }
  static Floats WithSignOf(Floats magnitude, Floats x) {
    return {vbslq_f32(vdupq_n_u32(0x80000000), x.v, magnitude.v)};
  }
  static Floats FromIntegers(const std::int32_t* p) { return {vcvtq_f32_s32(vld1q_s32(p))}; }
  static float Sum(Floats x) { return vaddvq_f32(x.v); }
  static float Largest(Floats x) { return vmaxvq_f32(x.v); }

  static void Transpose(Floats (&lines)[kLanes]) {
    const float32x4x2_t first = vtrnq_f32(lines[0].v, lines[1].v), second = vtrnq_f32(lines[2].v, lines[3].v);
    lines[0].v = vcombine_f32(vget_low_f32(first.val[0]), vget_low_f32(second.val[0]));
    lines[1].v = vcombine_f32(vget_low_f32(first.val[1]), vget_low_f32(second.val[1]));
    lines[2].v = vcombine_f32(vget_high_f32(first.val[0]), vget_high_f32(second.val[0]));
    lines[3].v = vcombine_f32(vget_high_f32(first.val[1]), vget_high_f32(second.val[1]));
  }
};

#include "kernels/packing.h"
#include "kernels/pointwise.h"
#include "kernels/strips.h"
#include "kernels/tiles.h"

template <std::size_t kColumns>
Columns<kColumns> LoadColumns(const std::uint16_t* columns) {
  Columns<kColumns> loaded;
  for (std::size_t j = 0; j < kColumns; ++j) loaded.at[j] = columns[j];
  return loaded;
}

// Sums of float32, whatever the weights are. Inputs are packed as float32, too.
struct FloatSums {
  using Number = float;
  using Packed = float;
  using Sum = float32x4_t;
  static constexpr std::size_t kLanes = 4, kSums = 16, kVectors = 4, kWideRows = 4, kWideVectors = 4;
  static constexpr std::size_t Apart(std::size_t) { return 2; }

  static Sum Zero() { return vdupq_n_f32(0); }
  static Sum Plus(Sum a, Sum b) { return vaddq_f32(a, b); }
  static void AddTo(float* y, Sum sum) { vst1q_f32(y, vaddq_f32(vld1q_f32(y), sum)); }
  static Sum MultiplyAddLanes(Sum sum, float32x4_t weights, float32x4_t inputs) {
    return vfmaq_f32(sum, weights, inputs);
  }
  static float MultiplyAddNumber(float sum, float weight, float input) {
    return __builtin_fmaf(weight, input, sum);
  }

  static float Input(const float* x, std::size_t c) { return x[c]; }
  template <std::size_t kSide>
  static float32x4_t LoadAlone(const float* x, std::size_t c) {
    return vld1q_f32(x + c);
  }
  static float32x4_t LoadStreams(const float* x, std::size_t i) { return vld1q_f32(x + i); }
};

struct EncodeFloat32 {
  static constexpr bool kScaled = false;
  static Floats Scaled(Floats x, Floats) { return x; }
  static void StoreAlone(void* to, std::size_t i, Floats x) { x.Store(static_cast<float*>(to) + i); }
  static void StoreStreams(void* to, std::size_t i, Floats x) { StoreAlone(to, i, x); }
};

struct Float32 : FloatSums {
  static constexpr std::size_t kColumns = 1, kStreams = 3;

  struct Weights {
    Weights(const std::byte* values, std::size_t) {
      for (std::size_t v = 0; v < 4; ++v) w[v] = vld1q_f32(reinterpret_cast<const float*>(values) + 4 * v);
    }
    float32x4_t w[4];
  };
  template <std::size_t n>
  struct Together {
    static constexpr std::size_t kAhead = 0;
    Together(const float* inputs, const Columns<1>& columns, int shift)
        : x(inputs + (columns.at[0] << shift)) {}
    float32x4_t Stream(std::size_t b) const { return vld1q_dup_f32(x + b); }
    const float* x;
  };
  using Alone = Together<1>;
  static Sum MultiplyAdd(Sum sum, const Weights& weights, std::size_t v, float32x4_t input) {
    return vfmaq_f32(sum, weights.w[v], input);
  }

  struct WideInputs {
    WideInputs(const float* inputs, const Columns<1>& columns, int shift) {
      const float* p = inputs + (columns.at[0] << shift);
      for (std::size_t v = 0; v < 4; ++v) x[v] = vld1q_f32(p + 4 * v);
    }
    float32x4_t x[4];
  };
  struct WideWeights {
    explicit WideWeights(const std::byte* values) : w(vld1q_dup_f32(reinterpret_cast<const float*>(values))) {}
    float32x4_t w;
  };
  static Sum WideMultiplyAdd(Sum sum, const WideInputs& inputs, std::size_t v, const WideWeights& weights) {
    return vfmaq_f32(sum, inputs.x[v], weights.w);
  }

  static float Weight(const void* values, std::size_t i) { return static_cast<const float*>(values)[i]; }
  static float32x4_t LoadWeights(const void* values, std::size_t i) {
    return vld1q_f32(static_cast<const float*>(values) + i);
  }
  static float32x4_t LoadWeight(const void* values, std::size_t i) {
    return vld1q_dup_f32(static_cast<const float*>(values) + i);
  }
};

// Inputs are packed as float32 that bfloat16 holds: rounded half to even, a NaN with its quiet bit set.
struct EncodeBFloat16 {
  static constexpr bool kScaled = false;
  static Floats Scaled(Floats x, Floats) { return x; }
  static void StoreAlone(void* to, std::size_t i, Floats x) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x.v);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    const uint32x4_t chosen = vbslq_u32(vceqq_f32(x.v, x.v), rounded, quiet);
    const uint32x4_t upper = vandq_u32(chosen, vdupq_n_u32(0xffff0000));
    vst1q_f32(static_cast<float*>(to) + i, vreinterpretq_f32_u32(upper));
  }
  static void StoreStreams(void* to, std::size_t i, Floats x) { StoreAlone(to, i, x); }
};

// Two bfloat16 a word into two vectors of float32: the second column is the upper half.
struct BFloat16 : FloatSums {
  static constexpr std::size_t kColumns = 2, kStreams = 2;

  struct Pair {
    float32x4_t lower, upper;
  };
  static Pair Halves(uint32x4_t words) {
    return {vreinterpretq_f32_u32(vshlq_n_u32(words, 16)),
            vreinterpretq_f32_u32(vandq_u32(words, vdupq_n_u32(0xffff0000)))};
  }
  static Sum Dot(Sum sum, const Pair& a, const Pair& b) {
    return vfmaq_f32(vfmaq_f32(sum, a.lower, b.lower), a.upper, b.upper);
  }

  struct Weights {
    Weights(const std::byte* values, std::size_t) {
      const auto* p = reinterpret_cast<const std::uint32_t*>(values);
      for (std::size_t v = 0; v < 4; ++v) w[v] = Halves(vld1q_u32(p + 4 * v));
    }
    Pair w[4];
  };
  template <std::size_t n>
  struct Together {
    static constexpr std::size_t kAhead = 0;
    Together(const float* inputs, const Columns<2>& columns, int shift)
        : lower(inputs + (columns.at[0] << shift)), upper(inputs + (columns.at[1] << shift)) {}
    Pair Stream(std::size_t b) const { return {vld1q_dup_f32(lower + b), vld1q_dup_f32(upper + b)}; }
    const float *lower, *upper;
  };
  using Alone = Together<1>;
  static Sum MultiplyAdd(Sum sum, const Weights& weights, std::size_t v, const Pair& input) {
    return Dot(sum, weights.w[v], input);
  }

  struct WideInputs {
    WideInputs(const float* inputs, const Columns<2>& columns, int shift) {
      const float *lower = inputs + (columns.at[0] << shift), *upper = inputs + (columns.at[1] << shift);
      for (std::size_t v = 0; v < 4; ++v) x[v] = {vld1q_f32(lower + 4 * v), vld1q_f32(upper + 4 * v)};
    }
    Pair x[4];
  };
  struct WideWeights {
    explicit WideWeights(const std::byte* values)
        : w(Halves(vld1q_dup_u32(reinterpret_cast<const std::uint32_t*>(values)))) {}
    Pair w;
  };
  static Sum WideMultiplyAdd(Sum sum, const WideInputs& inputs, std::size_t v, const WideWeights& weights) {
    return Dot(sum, inputs.x[v], weights.w);
  }

  static float Weight(const void* values, std::size_t i) {
    return __builtin_bit_cast(float, static_cast<const std::uint16_t*>(values)[i] << 16);
  }
  static float32x4_t LoadWeights(const void* values, std::size_t i) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(static_cast<const std::uint16_t*>(values) + i), 16));
  }
  static float32x4_t LoadWeight(const void* values, std::size_t i) { return vdupq_n_f32(Weight(values, i)); }
};

// Codes are rounded half to even, and the lowest for what is no number. Inputs alone are words with the code
// in front.
struct EncodeInt8 {
  static constexpr bool kScaled = true;
  static Floats Scaled(Floats x, Floats inverse_scales) { return x * inverse_scales; }
  static int32x4_t Codes(Floats scaled) {
    const Floats above = Floats::Max(scaled, Floats::Set(-127));
    return vcvtnq_s32_f32(Floats::Min(above, Floats::Set(127)).v);
  }
  static void StoreAlone(void* to, std::size_t i, Floats x) {
    vst1q_s32(static_cast<std::int32_t*>(to) + i, vshlq_n_s32(Codes(x), 24));
  }
  static void StoreStreams(void* to, std::size_t i, Floats x) {
    const int16x4_t halves = vmovn_s32(Codes(x));
    const int8x8_t codes = vmovn_s16(vcombine_s16(halves, halves));
    const std::int32_t four = vget_lane_s32(vreinterpret_s32_s8(codes), 0);
    __builtin_memcpy(static_cast<std::byte*>(to) + i, &four, sizeof four);
  }
};

// Int8, with a function Dot(sums, a, b) that adds the products of four bytes to a sum.
template <class Dot>
struct Int8Of {
  using Number = std::int32_t;
  using Packed = std::byte;
  using Sum = int32x4_t;
  static constexpr std::size_t kLanes = 4, kSums = 16, kVectors = 4, kWideRows = 4, kWideVectors = 4;
  static constexpr std::size_t kColumns = 4, kStreams = 4;
  static constexpr std::size_t Apart(std::size_t n) { return n == 1 ? 2 : 1; }

  static Sum Zero() { return vdupq_n_s32(0); }
  static Sum Plus(Sum a, Sum b) { return vaddq_s32(a, b); }
  static void AddTo(std::int32_t* y, Sum sum) { vst1q_s32(y, vaddq_s32(vld1q_s32(y), sum)); }

  struct Weights {
    Weights(const std::byte* values, std::size_t) {
      for (std::size_t v = 0; v < 4; ++v) w[v] = vld1q_s8(reinterpret_cast<const std::int8_t*>(values) + 16 * v);
    }
    int8x16_t w[4];
  };
  struct Alone {
    static constexpr std::size_t kAhead = 0;
    Alone(const std::byte* x, const Columns<4>& columns, int) : word(AloneCodes(x, columns, LoadWord)) {}
    int8x16_t Stream(std::size_t) const { return vreinterpretq_s8_s32(vdupq_n_s32(word)); }
    std::int32_t word;
  };
  template <std::size_t n>
  struct Together {
    static constexpr std::size_t kAhead = 0;
    Together(const std::byte* x, const Columns<4>& columns, int shift) {
      const auto row = [&](std::size_t j) {
        return vreinterpretq_s8_s32(vdupq_n_s32(LoadWord(x + (columns.at[j] << shift))));
      };
      const int8x16_t low = vzip1q_s8(row(0), row(1)), high = vzip1q_s8(row(2), row(3));
      words = vreinterpretq_s32_s16(vzip1q_s16(vreinterpretq_s16_s8(low), vreinterpretq_s16_s8(high)));
    }
    template <class B>
    int8x16_t Stream(B b) const {
      return vreinterpretq_s8_s32(vdupq_laneq_s32(words, b));
    }
    int32x4_t words;
  };
  static Sum MultiplyAdd(Sum sum, const Weights& weights, std::size_t v, int8x16_t input) {
    return Dot::Add(sum, weights.w[v], input);
  }

  // Four rows of 16 codes into 16 groups of four.
  struct WideInputs {
    WideInputs(const std::byte* inputs, const Columns<4>& columns, int shift) {
      const auto row = [&](std::size_t j) {
        return vld1q_s8(reinterpret_cast<const std::int8_t*>(inputs) + (columns.at[j] << shift));
      };
      const auto pairs = [](int8x16_t a, int8x16_t b) {
        return int16x8x2_t{{vreinterpretq_s16_s8(vzip1q_s8(a, b)), vreinterpretq_s16_s8(vzip2q_s8(a, b))}};
      };
      const int16x8x2_t low = pairs(row(0), row(1)), high = pairs(row(2), row(3));
      for (std::size_t half = 0; half < 2; ++half) {
        x[2 * half] = vreinterpretq_s8_s16(vzip1q_s16(low.val[half], high.val[half]));
        x[2 * half + 1] = vreinterpretq_s8_s16(vzip2q_s16(low.val[half], high.val[half]));
      }
    }
    int8x16_t x[4];
  };
  struct WideWeights {
    explicit WideWeights(const std::byte* values) : w(vreinterpretq_s8_s32(vdupq_n_s32(LoadWord(values)))) {}
    int8x16_t w;
  };
  static Sum WideMultiplyAdd(Sum sum, const WideInputs& inputs, std::size_t v, const WideWeights& weights) {
    return Dot::Add(sum, inputs.x[v], weights.w);
  }

  static std::int32_t Weight(const void* values, std::size_t i) {
    return static_cast<const std::int8_t*>(values)[i];
  }
  static std::int32_t Input(const std::byte* x, std::size_t c) { return static_cast<std::int8_t>(x[4 * c + 3]); }
  static int32x4_t FourCodes(const std::byte* p) {
    const int8x8_t codes = vreinterpret_s8_s32(vdup_n_s32(LoadWord(p)));
    return vmovl_s16(vget_low_s16(vmovl_s8(codes)));
  }
  static int32x4_t LoadWeights(const void* values, std::size_t i) {
    return FourCodes(static_cast<const std::byte*>(values) + i);
  }
  static int32x4_t LoadWeight(const void* values, std::size_t i) { return vdupq_n_s32(Weight(values, i)); }
  template <std::size_t kSide>
  static int32x4_t LoadAlone(const std::byte* x, std::size_t c) {
    return vshrq_n_s32(vld1q_s32(reinterpret_cast<const std::int32_t*>(x) + c), 24);
  }
  static int32x4_t LoadStreams(const std::byte* x, std::size_t i) { return FourCodes(x + i); }
  static Sum MultiplyAddLanes(Sum sum, int32x4_t weights, int32x4_t inputs) {
    return vmlaq_s32(sum, weights, inputs);
  }
  static std::int32_t MultiplyAddNumber(std::int32_t sum, std::int32_t weight, std::int32_t input) {
    return sum + weight * input;
  }
};

// The table of the instruction set with that int8.
template <class Int8>
constexpr Kernels TableOf(std::string_view name) {
  return {
      .name = name,
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
}
