// What one core can do at most: reading in sequence, and multiplying and adding in registers.
#include <chrono>
#include <cstddef>
#include <cstdint>

#if defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

constexpr int kSums = 12;  // independent sums: latency 4, two units, and some to spare

#if defined(__AVX512F__)
using Floats = __m512;
using Ints = __m512i;
Ints Load(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
Ints Either(Ints a, Ints b) { return _mm512_or_si512(a, b); }
Floats Fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
#elif defined(__AVX2__)
using Floats = __m256;
using Ints = __m256i;
Ints Load(const std::uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const Ints*>(p)); }
Ints Either(Ints a, Ints b) { return _mm256_or_si256(a, b); }
Floats Fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
#endif

// The compiler may neither drop nor reorder what made a value.
template <typename T>
void Keep(T& value) {
  asm volatile("" : "+v"(value));
}

template <typename Work>
double Seconds(const Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Seconds of `repeats` times `step` on every sum.
template <typename T, typename Step>
double Repeat(std::size_t repeats, const Step& step) {
  return Seconds([&] {
    T sums[kSums] = {};
    for (std::size_t i = 0; i < repeats; ++i) {
      for (T& sum : sums) {
        step(sum);
        Keep(sum);
      }
    }
  });
}

}  // namespace

extern "C" {

// Seconds of reading n bytes, a multiple of 512.
double ReadAll([[maybe_unused]] const std::uint8_t* bytes, [[maybe_unused]] std::size_t n) {
#if defined(__AVX512F__) || defined(__AVX2__)
  return Seconds([&] {
    Ints seen[8] = {};
    for (std::size_t i = 0; i < n; i += 8 * sizeof(Ints)) {
      for (std::size_t j = 0; j < 8; ++j) seen[j] = Either(seen[j], Load(bytes + i + j * sizeof(Ints)));
    }
    for (Ints& line : seen) Keep(line);
  });
#else
  return 0;
#endif
}

// Each of these gives the seconds of `repeats` · kSums steps, or 0 if the processor that this was compiled for
// has no such instruction. A step's operations are below, a multiplication and an addition being two.
double MultiplyFloats([[maybe_unused]] std::size_t repeats) {
#if defined(__AVX512F__) || defined(__AVX2__)
  Floats a = {}, b = {};
  Keep(a), Keep(b);
  return Repeat<Floats>(repeats, [&](Floats& sum) { sum = Fma(a, b, sum); });
#else
  return 0;
#endif
}

double MultiplyBFloats([[maybe_unused]] std::size_t repeats) {
#if defined(__AVX512BF16__)
  Ints a = {}, b = {};
  Keep(a), Keep(b);
  return Repeat<Floats>(repeats, [&](Floats& sum) {
    sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  });
#else
  return 0;
#endif
}

double MultiplyCodes([[maybe_unused]] std::size_t repeats) {
#if defined(__AVX512VNNI__)
  Ints a = {}, b = {};
  Keep(a), Keep(b);
  return Repeat<Ints>(repeats, [&](Ints& sum) { sum = _mm512_dpbusd_epi32(sum, a, b); });
#else
  return 0;
#endif
}

// Operations of a step on all sums, by the bytes of a weight.
std::size_t Operations(std::size_t bytes) {
#if defined(__AVX512F__) || defined(__AVX2__)
  return kSums * 2 * sizeof(Floats) / bytes;
#else
  return 0 * bytes;
#endif
}

}  // extern "C"
