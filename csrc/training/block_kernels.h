// What block-sparse layers compute with while they are trained, beside kernels.h: one table of functions an instruction
// set. Pieces are of float32, in the layout strip16.
#pragma once

#include <cstddef>
#include <string_view>

#include "kernels/kernels.h"

namespace sparrot {

inline constexpr std::size_t kLaneMultiple = 8;   // of lanes that multiply_back takes
inline constexpr std::size_t kFrameMultiple = 16;  // of frames that add_products reads

struct BlockKernels {
  std::string_view name;

  // x[columns[g]][b] += Σ_r values[g][r] · y[16 s + r][b]   for all groups g of all strips s, b < lanes
  //
  // In wide form: y [16 strips][lanes], x [n_columns][lanes]; lanes are a multiple of kLaneMultiple.
  void (*multiply_back)(const Piece& piece, const float* y, float* x, std::size_t lanes);

  // to[g][r] += Σ_b y[b][16 s + r] · x[columns[g]][b]   for all groups g of all strips s, b < n; no values are read
  //
  // y: in rows, [n][y_stride]; x: wide, [n_columns][x_stride], with zeros in b from n up to the next multiple of
  // kFrameMultiple; to: like the piece's values.
  void (*add_products)(const Piece& piece, const float* y, std::size_t y_stride, const float* x, std::size_t x_stride,
                       std::size_t n, float* to);

  // The pointwise part of one LSTM frame, after Graves 2013 (arXiv:1303.5778), eq. 7 to 11, without peepholes. Of n
  // cells, a multiple of 16, gates [4][n] holds σ(i), σ(f), tanh(g) and σ(o).
  //
  // new_cell: cell = σ(f) before + σ(i) tanh(g)
  // undo:     given ∂h, the gradient of σ(o) squashed with squashed = tanh(cell), and in ∂cell that of the next frame's
  //           use of cell, writes the gradient of what the gates' functions were given, and leaves in ∂cell that of
  //           `before`
  void (*new_cell)(const float* gates, const float* before, float* cell, std::size_t n);
  void (*undo_cell)(const float* gates, const float* before, const float* squashed, const float* d_hidden, float* d_cell,
                    float* d_gates, std::size_t n);

  // to[i] = a[i] · b[i]
  void (*multiply)(const float* a, const float* b, float* to, std::size_t n);
};

extern const BlockKernels kBaselineBlockKernels;
#if defined(__x86_64__)
extern const BlockKernels kAvx2BlockKernels;
extern const BlockKernels kAvx512BlockKernels;
#endif

// The table for an instruction set as kernels.h names it.
const BlockKernels& BlockKernelsFor(std::string_view isa);

}  // namespace sparrot
