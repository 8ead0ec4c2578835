// Products of strips, in the layouts strip16 and dense16, over a type T of an instruction set:
//
//   Number, Packed         of sums and of packed inputs, as the table's arrays have them
//   kColumns, kVectors     columns of a group; vectors of sums that the 16 rows of a strip are
//   kStreams               the most streams whose sums fit into registers
//   Apart(streams)         groups that are summed apart, which hides the latency of a multiply-add. It may
//                          depend on the number of streams only where sums are exact
//   Sum, Zero, Plus        a vector of sums
//   Weights(values, n)     the 16 rows of one group, for n streams
//   Alone(x, columns, 0)   inputs of one group, of the only stream there is; Stream(0)
//   Together<n>(x, columns, shift)    … of n streams side by side, 2^shift values from column to column;
//                          Stream(b). If kAhead is not 0, the inputs of so many groups are brought
//                          together first, by Gather(x, columns, shift, gathered), and Together(gathered)
//                          reads them: what was stored a moment ago is slow to read
//   MultiplyAdd(sum, weights, v, input)   of vector v of the rows
//   TwoGroups(x, columns)  if there is one: inputs of two groups of the only stream at once; First(), Second();
//                          TwoGroups::Consecutive(x) where their columns are
//
// and in wide form
//
//   kWideRows, kWideVectors   rows, and vectors of streams, whose sums fit into registers; 16 streams in all
//   WideInputs(x, columns, shift)     inputs of one group, of 16 streams
//   WideWeights(values)               of one row of one group
//   WideMultiplyAdd(sum, inputs, v, weights)  of vector v of the streams

// Calls what(0), …, what(n − 1) with constants, so that arrays they index can stay in registers.
template <std::size_t n, class What>
void Repeat(const What& what) {
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    (what(std::integral_constant<std::size_t, i>{}), ...);
  }(std::make_index_sequence<n>{});
}

template <std::size_t kColumns>
struct Columns {
  std::size_t at[kColumns];
};

template <std::size_t kColumns>
Columns<kColumns> LoadColumns(const std::uint16_t* columns);  // the instruction set's

inline std::int32_t LoadWord(const std::byte* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return word;
}

// An int8 input that is alone takes a word, with its code in the highest byte: [0 0 0 x]. Read 3 − j bytes
// into it, the word has the code in byte j and, as what follows begins with zeros, nothing else. So four
// loads make a group of four without a shift: word(p) loads one, and they are combined by `|`.
template <class Word>
auto AloneCodes(const std::byte* x, const Columns<4>& columns, const Word& word) {
  return (word(x + 4 * columns.at[0] + 3) | word(x + 4 * columns.at[1] + 2)) |
         (word(x + 4 * columns.at[2] + 1) | word(x + 4 * columns.at[3]));
}

template <class T>
class StoredGroups {
 public:
  explicit StoredGroups(const Piece& piece)
      : values(static_cast<const std::byte*>(piece.values)),
        starts_(piece.starts),
        columns_(piece.columns) {}
  std::size_t Begin(std::size_t strip) const { return starts_[strip]; }
  std::size_t End(std::size_t strip) const { return starts_[strip + 1]; }
  Columns<T::kColumns> At(std::size_t group, std::size_t /* first of its strip */) const {
    return LoadColumns<T::kColumns>(columns_ + group * T::kColumns);
  }
  auto PairAt(const typename T::Packed* x, std::size_t group, std::size_t) const {
    return typename T::TwoGroups(x, columns_ + group * T::kColumns);
  }

  const std::byte* const values;

 private:
  const std::uint32_t* starts_;
  const std::uint16_t* columns_;
};

template <class T>
class AllGroups {
 public:
  explicit AllGroups(const Piece& piece)
      : values(static_cast<const std::byte*>(piece.values)),
        groups_((piece.n_columns + T::kColumns - 1) / T::kColumns) {}
  std::size_t Begin(std::size_t strip) const { return strip * groups_; }
  std::size_t End(std::size_t strip) const { return (strip + 1) * groups_; }
  Columns<T::kColumns> At(std::size_t group, std::size_t first) const {
    Columns<T::kColumns> columns;
    for (std::size_t j = 0; j < T::kColumns; ++j) columns.at[j] = (group - first) * T::kColumns + j;
    return columns;
  }
  auto PairAt(const typename T::Packed* x, std::size_t group, std::size_t first) const {
    return T::TwoGroups::Consecutive(x + (group - first) * T::kColumns);
  }

  const std::byte* const values;

 private:
  std::size_t groups_;
};

inline constexpr std::size_t kGroupBytes = 64;
inline constexpr std::size_t kWeightsOfRow = 4;  // bytes of a group that are one row's

// Calls add(i, apart) for begin ≤ i < end, with apart = 0 … kApart − 1 in turn.
template <std::size_t kApart, class Add>
void AddApart(std::size_t begin, std::size_t end, const Add& add) {
  std::size_t i = begin;
  for (; i + kApart <= end; i += kApart) {
    Repeat<kApart>([&](auto apart) { add(i + apart, apart); });
  }
  Repeat<kApart - 1>([&](auto apart) {
    if (i + apart < end) add(i + apart, apart);
  });
}

// y[b][16] += the strip's product, for n streams at once.
template <class T, class Inputs, std::size_t n, class Groups>
[[gnu::flatten]] void MultiplyStrip(const Groups& groups, std::size_t strip,
                                    const typename T::Packed* x, int shift,
                                    typename T::Number* y, std::size_t y_stride) {
  constexpr std::size_t kApart = T::Apart(n), kVectors = T::kVectors, kAhead = Inputs::kAhead;
  typename T::Sum sums[kApart][n][kVectors];
  Repeat<kApart * n * kVectors>([&](auto i) {
    sums[i / kVectors / n][i / kVectors % n][i % kVectors] = T::Zero();
  });
  const std::size_t begin = groups.Begin(strip), end = groups.End(strip);
  const auto add = [&](std::size_t g, const Inputs& inputs, auto apart) {
    const typename T::Weights weights(groups.values + g * kGroupBytes, n);
    Repeat<n>([&](auto b) {
      const auto input = inputs.Stream(b);
      Repeat<kVectors>([&](auto v) {
        sums[apart][b][v] = T::MultiplyAdd(sums[apart][b][v], weights, v, input);
      });
    });
  };
  if constexpr (kAhead == 0) {
    AddApart<kApart>(begin, end, [&](std::size_t g, auto apart) {
      add(g, Inputs(x, groups.At(g, begin), shift), apart);
    });
  } else {
    static_assert(kAhead % kApart == 0);
    typename Inputs::Gathered gathered[kAhead];
    for (std::size_t ahead = begin; ahead < end; ahead += kAhead) {
      const std::size_t n_ahead = end - ahead < kAhead ? end - ahead : kAhead;
      for (std::size_t i = 0; i < n_ahead; ++i) {
        Inputs::Gather(x, groups.At(ahead + i, begin), shift, gathered[i]);
      }
      AddApart<kApart>(0, n_ahead, [&](std::size_t i, auto apart) {
        add(ahead + i, Inputs(gathered[i]), apart);
      });
    }
  }
  Repeat<n * kVectors>([&](auto i) {
    constexpr std::size_t b = i / kVectors, v = i % kVectors;
    Repeat<kApart - 1>([&](auto apart) {
      sums[0][b][v] = T::Plus(sums[0][b][v], sums[apart + 1][b][v]);
    });
    T::AddTo(y + b * y_stride + v * (16 / kVectors), sums[0][b][v]);
  });
}

// The same for the only stream, two groups at a time.
template <class T, class Groups>
[[gnu::flatten]] void MultiplyStripInPairs(const Groups& groups, std::size_t strip, const typename T::Packed* x,
                                           typename T::Number* y) {
  constexpr std::size_t kApart = T::Apart(1);
  static_assert(kApart % 2 == 0 && T::kVectors == 1);
  typename T::Sum sums[kApart];
  Repeat<kApart>([&](auto i) { sums[i] = T::Zero(); });
  const std::size_t begin = groups.Begin(strip), end = groups.End(strip);
  const auto weights = [&](std::size_t g) { return typename T::Weights(groups.values + g * kGroupBytes, 1); };
  const auto add = [&](std::size_t g, auto i) {
    const auto inputs = groups.PairAt(x, g, begin);
    sums[i] = T::MultiplyAdd(sums[i], weights(g), 0, inputs.First());
    sums[i + 1] = T::MultiplyAdd(sums[i + 1], weights(g + 1), 0, inputs.Second());
  };
  std::size_t g = begin;
  for (; g + kApart <= end; g += kApart) {
    Repeat<kApart / 2>([&](auto i) { add(g + 2 * i, std::integral_constant<std::size_t, 2 * i>{}); });
  }
  for (; g + 2 <= end; g += 2) add(g, std::integral_constant<std::size_t, 0>{});
  if (g < end) {
    const typename T::Alone inputs(x, groups.At(g, begin), 0);
    sums[0] = T::MultiplyAdd(sums[0], weights(g), 0, inputs.Stream(0));
  }
  Repeat<kApart - 1>([&](auto i) { sums[0] = T::Plus(sums[0], sums[i + 1]); });
  T::AddTo(y, sums[0]);
}

template <class T, class Groups>
using StripFunction = void (*)(const Groups&, std::size_t, const typename T::Packed*, int,
                               typename T::Number*, std::size_t);

// The function for 1 ≤ n ≤ kMost streams side by side.
template <class T, class Groups, std::size_t kMost = T::kStreams>
StripFunction<T, Groups> StripTogether(std::size_t n) {
  if constexpr (kMost > 1) {
    if (n < kMost) return StripTogether<T, Groups, kMost - 1>(n);
  }
  return MultiplyStrip<T, typename T::template Together<kMost>, kMost, Groups>;
}

// As few tiles of streams as there can be, no two of them more than one stream apart.
template <class T, class Groups>
void MultiplyStrips(const Piece& piece, std::size_t first, std::size_t last, const void* x,
                    std::size_t stride, void* y, std::size_t y_stride, std::size_t n) {
  const Groups groups(piece);
  const auto* input = static_cast<const typename T::Packed*>(x);
  auto* output = static_cast<typename T::Number*>(y);
  if (stride == 1) {
    for (std::size_t s = first; n > 0 && s < last; ++s) {
      if constexpr (requires { typename T::TwoGroups; }) {
        MultiplyStripInPairs<T, Groups>(groups, s, input, output + 16 * s);
      } else {
        MultiplyStrip<T, typename T::Alone, 1, Groups>(groups, s, input, 0, output + 16 * s, y_stride);
      }
    }
    return;
  }
  const std::size_t tiles = (n + T::kStreams - 1) / T::kStreams;
  if (tiles == 0) return;
  const std::size_t small = n / tiles, n_large = n % tiles;
  const auto large = StripTogether<T, Groups>(small + 1 <= T::kStreams ? small + 1 : small);
  const auto other = StripTogether<T, Groups>(small);
  const int shift = std::countr_zero(stride);
  for (std::size_t s = first; s < last; ++s) {
    std::size_t b = 0;
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      const bool is_large = tile < n_large;
      (is_large ? large : other)(groups, s, input + b, shift, output + b * y_stride + 16 * s, y_stride);
      b += is_large ? small + 1 : small;
    }
  }
}

// y[row][16] += the strip's product, for 16 streams and kWideRows rows from `top` on.
template <class T, class Groups>
[[gnu::flatten]] void MultiplyWideStrip(const Groups& groups, std::size_t strip, std::size_t top,
                       const typename T::Packed* x, int shift, typename T::Number* y,
                       std::size_t y_stride) {
  constexpr std::size_t kRows = T::kWideRows, kVectors = T::kWideVectors, kLanes = 16 / kVectors;
  typename T::Sum sums[kRows][kVectors];
  Repeat<kRows * kVectors>([&](auto i) {
    sums[i / kVectors][i % kVectors] = T::Zero();
  });
  const std::size_t begin = groups.Begin(strip), end = groups.End(strip);
  for (std::size_t g = begin; g < end; ++g) {
    const typename T::WideInputs inputs(x, groups.At(g, begin), shift);
    const std::byte* values = groups.values + g * kGroupBytes + top * kWeightsOfRow;
    Repeat<kRows>([&](auto r) {
      const typename T::WideWeights weights(values + r * kWeightsOfRow);
      Repeat<kVectors>([&](auto v) {
        sums[r][v] = T::WideMultiplyAdd(sums[r][v], inputs, v, weights);
      });
    });
  }
  Repeat<kRows * kVectors>([&](auto i) {
    constexpr std::size_t r = i / kVectors, v = i % kVectors;
    T::AddTo(y + r * y_stride + v * kLanes, sums[r][v]);
  });
}

template <class T, class Groups>
void MultiplyWideStrips(const Piece& piece, std::size_t first, std::size_t last, const void* x,
                        std::size_t stride, void* y, std::size_t y_stride, std::size_t n) {
  const Groups groups(piece);
  const auto* input = static_cast<const typename T::Packed*>(x);
  auto* output = static_cast<typename T::Number*>(y);
  const int shift = std::countr_zero(stride);
  for (std::size_t s = first; s < last; ++s) {
    for (std::size_t b = 0; b < n; b += 16) {
      for (std::size_t top = 0; top < 16; top += T::kWideRows) {
        MultiplyWideStrip<T, Groups>(groups, s, top, input + b, shift,
                                     output + (16 * s + top) * y_stride + b, y_stride);
      }
    }
  }
}
