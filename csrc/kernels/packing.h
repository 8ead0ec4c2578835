// Packing of inputs, over Floats (a vector, see pointwise.h) and an encoding E of a type:
//
//   Packed                    a packed value where there are several streams
//   StoreAlone(to, i, x)      encodes inputs i, i + 1, … of the only stream there is
//   StoreStreams(to, i, x)    … of streams side by side; may write as many values as a vector has lanes
//   Scaled(x, inverse_scales) what is encoded

inline constexpr std::size_t kBlock = 16;  // columns, and streams, that are turned at once

constexpr std::size_t Least(std::size_t a, std::size_t b) { return a < b ? a : b; }

// to[c][b] = from[b][c] for b < rows ≤ 16 and c < columns ≤ 16, zeros elsewhere
inline void TurnBlock(const float* from, std::size_t from_stride, std::size_t rows,
                      std::size_t columns, float (&to)[kBlock][kBlock]) {
  constexpr std::size_t kLanes = Floats::kLanes;
  for (std::size_t b = 0; b < kBlock; b += kLanes) {
    for (std::size_t c = 0; c < kBlock; c += kLanes) {
      Floats lines[kLanes];
      for (std::size_t i = 0; i < kLanes; ++i) {
        const std::size_t n = b + i < rows && c < columns ? Least(columns - c, kLanes) : 0;
        lines[i] = n == kLanes ? Floats::Load(from + (b + i) * from_stride + c)
                   : n > 0     ? Floats::LoadSome(from + (b + i) * from_stride + c, n)
                               : Floats::Set(0);
      }
      Floats::Transpose(lines);
      for (std::size_t i = 0; i < kLanes; ++i) lines[i].Store(&to[c + i][b]);
    }
  }
}

inline void Transpose(const float* from, std::size_t from_stride, std::size_t rows,
                      std::size_t columns, float* to, std::size_t to_stride,
                      std::size_t padded_rows) {
  alignas(64) float block[kBlock][kBlock];
  for (std::size_t c = 0; c < columns; c += kBlock) {
    for (std::size_t b = 0; b < padded_rows; b += kBlock) {
      const std::size_t n_rows = rows > b ? Least(rows - b, kBlock) : 0;
      const std::size_t n_columns = Least(columns - c, kBlock);
      TurnBlock(from + b * from_stride + c, from_stride, n_rows, n_columns, block);
      const std::size_t n = Least(padded_rows - b, kBlock);
      for (std::size_t i = 0; i < n_columns; ++i) {
        for (std::size_t k = 0; k < n; k += Floats::kLanes) {
          Floats::Load(block[i] + k).StoreSome(to + (c + i) * to_stride + b + k, Least(n - k, Floats::kLanes));
        }
      }
    }
  }
}

constexpr std::size_t PackedColumns(std::size_t n_columns) {
  return (n_columns + kColumnMultiple - 1) / kColumnMultiple * kColumnMultiple;
}

template <class E>
void PackAlone(const float* x, std::size_t n_columns, Floats inverse_scale, void* packed) {
  constexpr std::size_t kLanes = Floats::kLanes;
  std::size_t c = 0;
  for (; c + kLanes <= n_columns; c += kLanes) {
    E::StoreAlone(packed, c, E::Scaled(Floats::Load(x + c), inverse_scale));
  }
  // Zeros past the last column too: a product may read them beside it.
  for (; c < PackedColumns(n_columns) + kLanes; c += kLanes) {
    const Floats rest = c < n_columns ? Floats::LoadSome(x + c, n_columns - c) : Floats::Set(0);
    E::StoreAlone(packed, c, E::Scaled(rest, inverse_scale));
  }
}

// The scales of streams b, b + 1, …, zeros past the last. Types without scales have no array of them.
template <class E>
Floats InverseScales(const float* inverse_scales, std::size_t b, std::size_t n_streams) {
  if (!E::kScaled || b >= n_streams) return Floats::Set(0);
  return Floats::LoadSome(inverse_scales + b, Least(n_streams - b, Floats::kLanes));
}

// Columns are written in rising order: what a vector writes past its stride is written over by the next
// column, or lies past the end.
template <class E>
void PackRows(const float* x, std::size_t x_stride, std::size_t n_columns, std::size_t n_streams,
              const float* inverse_scales, void* packed, std::size_t stride) {
  if (stride == 1) {
    const bool has_scale = E::kScaled && n_streams > 0;
    PackAlone<E>(x, n_streams > 0 ? n_columns : 0, Floats::Set(has_scale ? inverse_scales[0] : 0), packed);
    return;
  }
  alignas(64) float block[kBlock][kBlock];
  for (std::size_t b = 0; b < stride; b += kBlock) {
    const std::size_t rows = n_streams > b ? Least(n_streams - b, kBlock) : 0;
    for (std::size_t c = 0; c < PackedColumns(n_columns); c += kBlock) {
      const std::size_t columns = n_columns > c ? Least(n_columns - c, kBlock) : 0;
      TurnBlock(x + b * x_stride + c, x_stride, rows, columns, block);
      for (std::size_t i = 0; i < kBlock; ++i) {
        for (std::size_t k = 0; k < Least(stride - b, kBlock); k += Floats::kLanes) {
          const Floats scales = InverseScales<E>(inverse_scales, b + k, n_streams);
          E::StoreStreams(packed, (c + i) * stride + b + k, E::Scaled(Floats::Load(block[i] + k), scales));
        }
      }
    }
  }
}

template <class E>
void PackWide(const float* x, std::size_t x_stride, std::size_t n_columns, std::size_t n_streams,
              const float* inverse_scales, void* packed, std::size_t stride) {
  constexpr std::size_t kLanes = Floats::kLanes;
  const std::size_t end = PackedColumns(n_columns) + (stride == 1 ? kLanes : 0);  // as PackAlone
  for (std::size_t c = 0; c < end; c += stride == 1 ? kLanes : 1) {
    for (std::size_t b = 0; b < stride; b += kLanes) {
      alignas(64) float streams[kLanes] = {};
      const Floats scales = InverseScales<E>(inverse_scales, b, n_streams);
      const std::size_t n = c < n_columns && b < n_streams ? Least(n_streams - b, kLanes) : 0;
      if (stride == 1) {
        for (std::size_t i = 0; n > 0 && i < kLanes && c + i < n_columns; ++i) {
          streams[i] = x[(c + i) * x_stride];
        }
        const Floats scale = Floats::Set(E::kScaled && n > 0 ? inverse_scales[0] : 0);
        E::StoreAlone(packed, c, E::Scaled(Floats::Load(streams), scale));
      } else {
        const Floats inputs = n > 0 ? Floats::LoadSome(x + c * x_stride + b, n) : Floats::Set(0);
        E::StoreStreams(packed, c * stride + b, E::Scaled(inputs, scales));
      }
    }
  }
}
