#include "network/wide_product.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace sparrot {
namespace {

constexpr float kMaxCode = 127.0F;

bool FillsLanes(std::size_t n_streams) { return n_streams >= kWideStreams; }
std::size_t Lanes(std::size_t n_streams) { return RoundUp(n_streams, kWideStreams); }

// max|x| of n streams in wide form.
void FindLargest(const float* x, std::size_t stride, std::size_t columns, std::size_t n, float* largest) {
  std::fill_n(largest, n, 0.0F);
  for (std::size_t c = 0; c < columns; ++c, x += stride) {
    for (std::size_t b = 0; b < n; ++b) largest[b] = std::max(largest[b], std::abs(x[b]));
  }
}

}  // namespace

void Matrix::WideProduct::Add(View<const float> x, View<float> y, std::size_t first) {
  Block& block = blocks_[n_blocks_++];
  block.x = x, block.y = y;
  block.n_streams = std::min(own_[0] - first, kMostStreams);
  block.lanes = Lanes(block.n_streams);
  block.n_segments = 0;
  block.counts.fill(0);
  for (const std::size_t count : own_) {
    if (count > first) block.counts[block.n_segments++] = std::min(count - first, kMostStreams);
  }
}

void Matrix::WideProduct::Run() {
  if (type() == WeightType::kInt8) FindScales();
  strips_at_once_ = std::max<std::size_t>(1, kSumsAtOnce / (kStripRows * blocks_[0].lanes));
  PlaceInputs();
  PackInputs();
  const std::size_t strips = matrix_.shape_.Strips();
  for (std::size_t first = 0; first < strips; first += strips_at_once_) {
    const std::size_t last = std::min(first + strips_at_once_, strips);
    if (type() == WeightType::kInt8) {
      RunStrips<std::int32_t>(first, last);
    } else {
      RunStrips<float>(first, last);
    }
  }
}

void Matrix::WideProduct::FindScales() {
  float* next = workspace_.scales.Get<float>(2 * n_blocks_ * kMostStreams);
  for (Block& block : blocks()) {
    const std::size_t n = block.n_streams, columns = matrix_.shape_.columns;
    float* const scales = block.scales = next;
    float* const inverses = next + block.lanes;
    next += 2 * block.lanes;
    if (bounded_) {
      std::fill_n(scales, n, 1.0F);
    } else if (block.x.form == Form::kWide) {
      FindLargest(block.x.values, block.x.stride, columns, n, scales);
    } else {
      for (std::size_t b = 0; b < n; ++b) scales[b] = kernels_.max_abs(block.x.values + b * block.x.stride, columns);
    }
    for (std::size_t b = 0; b < n; ++b) {
      inverses[b] = scales[b] == 0.0F ? 0.0F : kMaxCode / scales[b];
      scales[b] /= kMaxCode;
    }
    std::fill(scales + n, scales + block.lanes, 0.0F);
  }
}

void Matrix::WideProduct::PlaceInputs() {
  const std::size_t columns = matrix_.shape_.columns;
  const auto place = [&](std::size_t stride) {
    const std::size_t begin = input_bytes_;
    input_bytes_ += RoundUp(PackedBytes(type(), columns, stride), kAlignment);
    return begin;
  };
  for (Block& block : blocks()) {
    for (std::size_t k = 0; k < block.n_segments && FillsLanes(block.counts[k]); ++k) {
      const bool is_same = k > 0 && block.counts[k] == block.counts[k - 1];
      block.inputs[k] = is_same ? block.inputs[k - 1] : place(PackedStride(Lanes(block.counts[k])));
    }
  }
  for (std::size_t k = 0; k < own_.size(); ++k) {
    std::size_t n = 0;
    for (const Block& block : blocks()) n += FillsLanes(block.counts[k]) ? 0 : block.counts[k];
    if (n == 0) continue;
    Few& few = few_[n_few_++];
    few.segment = k, few.n_streams = n;
    few.form = FillsLanes(n) ? Form::kWide : Form::kRows;
    few.lanes = Lanes(n);
    few.stride = PackedStride(few.form == Form::kWide ? few.lanes : n);
    few.inputs = place(few.stride);
    few.sums = few_sums_;
    few_sums_ += strips_at_once_ * kStripRows * few.lanes;
  }
}

void Matrix::WideProduct::PackInputs() {
  auto* const memory = workspace_.packed.Get<std::byte>(input_bytes_);
  const std::size_t columns = matrix_.shape_.columns;
  for (const Block& block : blocks()) {
    const bool is_wide = block.x.form == Form::kWide;
    const auto pack = (is_wide ? kernels_.pack_wide : kernels_.pack_rows)[Index(type())];
    const float* const inverses = type() == WeightType::kInt8 ? block.scales + block.lanes : nullptr;
    for (std::size_t k = 0; k < block.n_segments && FillsLanes(block.counts[k]); ++k) {
      if (k > 0 && block.inputs[k] == block.inputs[k - 1]) continue;
      pack(block.x.values, block.x.stride, columns, block.counts[k], inverses, memory + block.inputs[k],
           PackedStride(Lanes(block.counts[k])));
    }
  }
  for (const Few& one : few()) PackFew(one, memory + one.inputs);
}

void Matrix::WideProduct::PackFew(const Few& few, std::byte* to) {
  const std::size_t columns = matrix_.shape_.columns;
  float* row = workspace_.gathered.Get<float>(few.n_streams * (columns + 1));
  float* const gathered = row;
  float* inverse = gathered + few.n_streams * columns;
  float* const inverses = inverse;
  for (const Block& block : blocks()) {
    const std::size_t count = block.counts[few.segment];
    if (FillsLanes(count)) continue;
    for (std::size_t b = 0; b < count; ++b, row += columns) {
      if (block.x.form == Form::kRows) {
        std::copy_n(block.x.values + b * block.x.stride, columns, row);
      } else {
        for (std::size_t c = 0; c < columns; ++c) row[c] = block.x.values[c * block.x.stride + b];
      }
      if (type() == WeightType::kInt8) *inverse++ = block.scales[block.lanes + b];
    }
  }
  kernels_.pack_rows[Index(type())](gathered, columns, columns, few.n_streams, inverses, to, few.stride);
}

template <class Sum>
void Matrix::WideProduct::RunStrips(std::size_t first, std::size_t last) {
  constexpr bool kCodes = std::is_same_v<Sum, std::int32_t>;
  const std::size_t first_row = first * kStripRows, rows = (last - first) * kStripRows;
  const auto* const inputs = workspace_.packed.Get<std::byte>(input_bytes_);
  MultiplyFew<Sum>(first, last);
  for (std::size_t i = 0; i < n_blocks_; ++i) {
    const Block& block = blocks_[i];
    const bool in_rows = block.y.form == Form::kRows;
    View<float> y{Form::kWide, block.y.values, block.y.stride};
    if (in_rows) {
      y = {Form::kWide, workspace_.wide.Get<float>(rows * block.lanes), block.lanes};
      std::fill_n(y.values, rows * block.lanes, 0.0F);
    } else {
      y.values += first_row * y.stride;
      if (bias_ != nullptr) kernels_.fill_wide(bias_ + first_row, y.values, y.stride, rows, block.lanes);
    }
    Sum* sums = nullptr;
    std::size_t stride = block.lanes;
    if constexpr (kCodes) {
      sums = workspace_.sums.Get<std::int32_t>(rows * stride);
      BeginSums(block, first_row, rows, sums);
    } else {
      sums = y.values, stride = y.stride;
    }
    for (std::size_t k = 0; k < block.n_segments && FillsLanes(block.counts[k]); ++k) {
      const std::size_t lanes = Lanes(block.counts[k]);
      kernels_.multiply_wide[Index(type())](StripsOf(matrix_.At(k).piece, first, last), 0, last - first,
                                            inputs + block.inputs[k], PackedStride(lanes), sums, stride, lanes);
    }
    AddFew(i, rows, sums, stride);
    if constexpr (kCodes) {
      kernels_.add_scaled_wide(sums, stride, matrix_.row_scales_.data() + first_row, block.scales, y.values,
                               y.stride, rows, block.n_streams);
    }
    if (!in_rows) continue;
    float* const back = workspace_.back.Get<float>(block.n_streams * rows);
    kernels_.transpose(y.values, y.stride, rows, block.n_streams, back, rows, rows);
    for (std::size_t b = 0; b < block.n_streams; ++b) {
      kernels_.add(back + b * rows, block.y.values + b * block.y.stride + first_row, rows);
    }
  }
}

template <class Sum>
void Matrix::WideProduct::MultiplyFew(std::size_t first, std::size_t last) {
  const std::size_t rows = (last - first) * kStripRows;
  const auto* const inputs = workspace_.packed.Get<std::byte>(input_bytes_);
  auto* const all_sums = workspace_.few.Get<Sum>(few_sums_);
  for (const Few& one : few()) {
    Sum* const sums = all_sums + one.sums;
    const bool is_wide = one.form == Form::kWide;
    const std::size_t n = is_wide ? one.lanes : one.n_streams;
    BeginFew(one, first * kStripRows, rows, sums);
    const auto multiply = (is_wide ? kernels_.multiply_wide : kernels_.multiply_rows)[Index(type())];
    multiply(StripsOf(matrix_.At(one.segment).piece, first, last), 0, last - first, inputs + one.inputs, one.stride,
             sums, is_wide ? one.lanes : rows, n);
  }
}

template <class Sum>
void Matrix::WideProduct::AddFew(std::size_t block, std::size_t rows, Sum* sums, std::size_t stride) {
  const auto* const all_sums = workspace_.few.Get<Sum>(few_sums_);
  for (const Few& one : few()) {
    const std::size_t n = blocks_[block].counts[one.segment];
    if (FillsLanes(n)) continue;
    std::size_t before = 0;  // streams of the blocks before
    for (std::size_t i = 0; i < block; ++i) {
      const std::size_t count = blocks_[i].counts[one.segment];
      before += FillsLanes(count) ? 0 : count;
    }
    const bool is_wide = one.form == Form::kWide;
    const std::size_t row_step = is_wide ? one.lanes : 1, stream_step = is_wide ? 1 : rows;
    const Sum* const from = all_sums + one.sums + before * stream_step;
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t b = 0; b < n; ++b) sums[row * stride + b] += from[row * row_step + b * stream_step];
    }
  }
}

// What the kernels add to the codes of inputs is taken off again. Lanes that are filled up have inputs of zero,
// of which that is left.
void Matrix::WideProduct::BeginSums(const Block& block, std::size_t first_row, std::size_t rows,
                                    std::int32_t* sums) const {
  const bool is_zero = kernels_.input_offset == 0 || !FillsLanes(block.counts[0]);
  if (is_zero) std::fill_n(sums, rows * block.lanes, 0);
  for (std::size_t k = 0; !is_zero && k < block.n_segments && FillsLanes(block.counts[k]); ++k) {
    if (k + 1 < block.n_segments && block.counts[k + 1] == block.counts[k]) continue;
    // Denser ones come over sparser ones.
    const std::int32_t* const begin = matrix_.At(k).begin.data() + first_row;
    kernels_.fill_wide(begin, sums, block.lanes, rows, Lanes(block.counts[k]));
  }
}

void Matrix::WideProduct::BeginFew(const Few& few, std::size_t, std::size_t rows, float* sums) const {
  std::fill_n(sums, rows * (few.form == Form::kWide ? few.lanes : few.n_streams), 0.0F);
}

void Matrix::WideProduct::BeginFew(const Few& few, std::size_t first_row, std::size_t rows,
                                   std::int32_t* sums) const {
  const std::int32_t* const begin = matrix_.At(few.segment).own_begin.data() + first_row;
  const std::size_t n = few.form == Form::kWide ? few.lanes : few.n_streams;
  if (kernels_.input_offset == 0) {
    std::fill_n(sums, rows * n, 0);
  } else if (few.form == Form::kWide) {
    kernels_.fill_wide(begin, sums, few.lanes, rows, few.lanes);
  } else {
    for (std::size_t b = 0; b < n; ++b) std::copy_n(begin, rows, sums + b * rows);
  }
}

}  // namespace sparrot
