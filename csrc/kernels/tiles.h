// Products of tiles and of single weights, in the layouts tile4, tile8 and csr, over a type T of an
// instruction set, a weight or an input a lane:
//
//   Number, Packed, Sum, Zero, Plus, AddTo   as in strips.h
//   kLanes
//   LoadWeights(values, i), LoadWeight(values, i)   weights i, i + 1, …; weight i in every lane
//   LoadAlone<side>(x, c)      inputs c, c + 1, … of the only stream there is, again from c after `side`
//   LoadStreams(x, i)          packed inputs i, i + 1, …
//   MultiplyAddLanes(sum, weights, inputs)
//   Weight(values, i), Input(x, c), MultiplyAddNumber(sum, weight, input)   the same of one number

// The tiles of one row of tiles, which are summed apart if a tile's products are not sums enough.
template <std::size_t kSide>
inline constexpr std::size_t kTilesApart = kSide == 4 ? 2 : 1;

// The sum over a tile's columns, in an order that alone and together share.
template <std::size_t kSide, class Number, class Plus>
Number SumOfColumns(const Number* columns, const Plus& plus) {
  const Number half = plus(plus(columns[0], columns[1]), plus(columns[2], columns[3]));
  if constexpr (kSide == 4) {
    return half;
  } else {
    return plus(half, plus(plus(columns[4], columns[5]), plus(columns[6], columns[7])));
  }
}

// y[row] += the products of a row of tiles, for the only stream there is.
template <class T, std::size_t kSide>
[[gnu::flatten]] void MultiplyTilesAlone(const Piece& piece, std::size_t tile_row, const typename T::Packed* x,
                        typename T::Number* y) {
  constexpr std::size_t kWeights = kSide * kSide, kVectors = kWeights / T::kLanes;
  constexpr std::size_t kApart = kTilesApart<kSide>;
  typename T::Sum sums[kApart][kVectors];
  Repeat<kApart * kVectors>([&](auto i) {
    sums[i / kVectors][i % kVectors] = T::Zero();
  });
  const auto add = [&](std::size_t i, auto apart) {
    const std::size_t column = piece.columns[i] * kSide;
    Repeat<kVectors>([&](auto v) {
      constexpr std::size_t place = v * T::kLanes;
      const auto weights = T::LoadWeights(piece.values, i * kWeights + place);
      const auto inputs = T::template LoadAlone<kSide>(x, column + place % kSide);
      sums[apart][v] = T::MultiplyAddLanes(sums[apart][v], weights, inputs);
    });
  };
  AddApart<kApart>(piece.starts[tile_row], piece.starts[tile_row + 1], add);
  alignas(64) typename T::Number products[kWeights] = {};
  Repeat<kVectors>([&](auto v) {
    Repeat<kApart - 1>([&](auto apart) {
      sums[0][v] = T::Plus(sums[0][v], sums[apart + 1][v]);
    });
    T::AddTo(products + v * T::kLanes, sums[0][v]);
  });
  const auto plus = [](auto a, auto b) { return a + b; };
  for (std::size_t r = 0; r < kSide; ++r) y[r] += SumOfColumns<kSide>(products + r * kSide, plus);
}

// Adds a vector of sums, a stream a lane, to a row of y: [row][stream] in wide form, else [stream][row].
template <class T, bool kWide>
void AddStreams(typename T::Sum sum, typename T::Number* y, std::size_t y_stride, std::size_t row,
                std::size_t b, std::size_t n) {
  if constexpr (kWide) {
    T::AddTo(y + row * y_stride + b, sum);
  } else {
    alignas(64) typename T::Number streams[T::kLanes] = {};
    T::AddTo(streams, sum);
    for (std::size_t i = 0; i < T::kLanes && b + i < n; ++i) y[(b + i) * y_stride + row] += streams[i];
  }
}

// The same for as many streams as a vector has lanes, b and those after it.
template <class T, std::size_t kSide, bool kWide>
[[gnu::flatten]] void MultiplyTilesTogether(const Piece& piece, std::size_t tile_row, const typename T::Packed* x,
                           int shift, typename T::Number* y, std::size_t y_stride, std::size_t b,
                           std::size_t n) {
  constexpr std::size_t kApart = kTilesApart<kSide>, kRows = T::kSums / (kApart * kSide);
  const std::size_t begin = piece.starts[tile_row], end = piece.starts[tile_row + 1];
  for (std::size_t top = 0; top < kSide; top += kRows) {
    typename T::Sum sums[kApart][kRows][kSide];
    Repeat<kApart * kRows * kSide>([&](auto i) {
      sums[i / kSide / kRows][i / kSide % kRows][i % kSide] = T::Zero();
    });
    const auto add = [&](std::size_t i, auto apart) {
      const std::size_t column = piece.columns[i] * kSide;
      Repeat<kSide>([&](auto j) {
        const auto inputs = T::LoadStreams(x, ((column + j) << shift) + b);
        Repeat<kRows>([&](auto r) {
          const auto weight = T::LoadWeight(piece.values, (i * kSide + top + r) * kSide + j);
          sums[apart][r][j] = T::MultiplyAddLanes(sums[apart][r][j], weight, inputs);
        });
      });
    };
    AddApart<kApart>(begin, end, add);
    Repeat<kRows>([&](auto r) {
      Repeat<kSide*(kApart - 1)>([&](auto i) {
        sums[0][r][i % kSide] = T::Plus(sums[0][r][i % kSide], sums[i / kSide + 1][r][i % kSide]);
      });
      AddStreams<T, kWide>(SumOfColumns<kSide>(sums[0][r], T::Plus), y, y_stride,
                           tile_row * kSide + top + r, b, n);
    });
  }
}

template <class T, std::size_t kSide, bool kWide>
void MultiplyTiles(const Piece& piece, std::size_t first, std::size_t last, const void* x,
                   std::size_t stride, void* y, std::size_t y_stride, std::size_t n) {
  const auto* input = static_cast<const typename T::Packed*>(x);
  auto* output = static_cast<typename T::Number*>(y);
  const int shift = std::countr_zero(stride);
  for (std::size_t t = first * 16 / kSide; t < last * 16 / kSide; ++t) {
    if (!kWide && stride == 1) {
      if (n > 0) MultiplyTilesAlone<T, kSide>(piece, t, input, output + t * kSide);
    } else {
      for (std::size_t b = 0; b < n; b += T::kLanes) {
        MultiplyTilesTogether<T, kSide, kWide>(piece, t, input, shift, output, y_stride, b, n);
      }
    }
  }
}

// Four weights of a row are summed apart.
template <class T>
[[gnu::flatten]] void MultiplyRowAlone(const Piece& piece, std::size_t row, const typename T::Packed* x,
                      typename T::Number* y) {
  typename T::Number sums[4] = {};
  AddApart<4>(piece.starts[row], piece.starts[row + 1],
              [&](std::size_t i, auto apart) {
                sums[apart] = T::MultiplyAddNumber(sums[apart], T::Weight(piece.values, i),
                                                   T::Input(x, piece.columns[i]));
              });
  y[row] += SumOfColumns<4>(sums, [](auto a, auto b) { return a + b; });
}

template <class T, bool kWide>
[[gnu::flatten]] void MultiplyRowTogether(const Piece& piece, std::size_t row, const typename T::Packed* x,
                         int shift, typename T::Number* y, std::size_t y_stride, std::size_t b,
                         std::size_t n) {
  typename T::Sum sums[4];
  Repeat<4>([&](auto apart) { sums[apart] = T::Zero(); });
  AddApart<4>(piece.starts[row], piece.starts[row + 1],
              [&](std::size_t i, auto apart) {
                const std::size_t place = (std::size_t{piece.columns[i]} << shift) + b;
                sums[apart] = T::MultiplyAddLanes(sums[apart], T::LoadWeight(piece.values, i),
                                                  T::LoadStreams(x, place));
              });
  AddStreams<T, kWide>(SumOfColumns<4>(sums, T::Plus), y, y_stride, row, b, n);
}

template <class T, bool kWide>
void MultiplyCsr(const Piece& piece, std::size_t first, std::size_t last, const void* x,
                 std::size_t stride, void* y, std::size_t y_stride, std::size_t n) {
  const auto* input = static_cast<const typename T::Packed*>(x);
  auto* output = static_cast<typename T::Number*>(y);
  const int shift = std::countr_zero(stride);
  for (std::size_t row = 16 * first; row < 16 * last; ++row) {
    if (!kWide && stride == 1) {
      if (n > 0) MultiplyRowAlone<T>(piece, row, input, output);
    } else {
      for (std::size_t b = 0; b < n; b += T::kLanes) {
        MultiplyRowTogether<T, kWide>(piece, row, input, shift, output, y_stride, b, n);
      }
    }
  }
}

// The product of any layout, in rows or in wide form.
template <class T, bool kWide>
void Multiply(const Piece& piece, std::size_t first, std::size_t last, const void* x,
              std::size_t stride, void* y, std::size_t y_stride, std::size_t n) {
  const auto multiply = [&]() -> Kernels::Multiply {
    switch (piece.layout) {
      case Layout::kStrip16:
        return kWide ? MultiplyWideStrips<T, StoredGroups<T>> : MultiplyStrips<T, StoredGroups<T>>;
      case Layout::kDense16:
        return kWide ? MultiplyWideStrips<T, AllGroups<T>> : MultiplyStrips<T, AllGroups<T>>;
      case Layout::kTile4: return MultiplyTiles<T, 4, kWide>;
      case Layout::kTile8: return MultiplyTiles<T, 8, kWide>;
      case Layout::kCsr: break;
    }
    return MultiplyCsr<T, kWide>;
  }();
  multiply(piece, first, last, x, stride, y, y_stride, n);
}
