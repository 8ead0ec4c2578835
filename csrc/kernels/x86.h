// What AVX2 and AVX-512 share.

// Fields of one wide load are cheaper than so many loads.
template <std::size_t kColumns>
Columns<kColumns> LoadColumns(const std::uint16_t* columns) {
  if constexpr (kColumns == 1) {
    return {{columns[0]}};
  } else if constexpr (kColumns == 2) {
    return {{columns[0], columns[1]}};
  } else {
    std::uint64_t all;
    __builtin_memcpy(&all, columns, sizeof all);
    return {{all & 0xffff, _bextr_u64(all, 16, 16), _bextr_u64(all, 32, 16), all >> 48}};
  }
}

// A word that is combined in vector registers: on its way there from others it would cost as much again.
struct LowWord {
  explicit LowWord(const std::byte* p) : v(_mm_cvtsi32_si128(LoadWord(p))) {}
  explicit LowWord(__m128i word) : v(word) {}
  friend LowWord operator|(LowWord a, LowWord b) { return LowWord(_mm_or_si128(a.v, b.v)); }
  __m128i v;
};

// Inputs of one group side by side, a word a stream, for up to eight streams.
struct Words {
  __m128i first, second;
};

template <std::size_t n>
Words CodesOfGroup(const std::byte* x, const Columns<4>& columns, int shift) {
  const auto row = [&](std::size_t j) {
    const std::byte* p = x + (columns.at[j] << shift);
    return n <= 4 ? _mm_cvtsi32_si128(LoadWord(p)) : _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  };
  const __m128i low = _mm_unpacklo_epi8(row(0), row(1)), high = _mm_unpacklo_epi8(row(2), row(3));
  return {_mm_unpacklo_epi16(low, high), _mm_unpackhi_epi16(low, high)};
}

// A word in every lane, by a shuffle …
template <std::size_t n>
struct WordsInRegisters {
  static constexpr std::size_t kAhead = 0;
  template <class B>
  __m128i Word(B b) const {  // in the lowest lane
    return _mm_bsrli_si128(b < 4 ? words.first : words.second, b % 4 * 4);
  }
  Words words;
};

// … or by a load, which leaves the units of shuffles free: faster for many streams.
template <std::size_t n>
struct WordsInMemory {
  static constexpr std::size_t kAhead = 24;
  struct alignas(16) Gathered {
    void Store(const Words& words) {
      _mm_store_si128(reinterpret_cast<__m128i*>(at), words.first);
      if constexpr (n > 4) _mm_store_si128(reinterpret_cast<__m128i*>(at) + 1, words.second);
    }
    std::int32_t at[n <= 4 ? 4 : 8];
  };
  std::int32_t Word(std::size_t b) const { return words[b]; }
  const std::int32_t* words;
};
