#include <nanobind/stl/optional.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/kernels.h"
#include "layout/buffer.h"
#include "layout/pieces.h"
#include "python/arrays.h"
#include "python/bindings.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

template <std::size_t kNames, typename Choice>
Choice Named(std::string_view name, const std::pair<const char*, Choice> (&choices)[kNames]) {
  std::string names;
  for (const auto& [known, choice] : choices) {
    if (name == known) return choice;
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  throw std::invalid_argument("`" + std::string(name) + "` is none of " + names);
}

Layout NamedLayout(std::string_view name) {
  return Named<5, Layout>(name, {{"strip16", Layout::kStrip16},
                                 {"dense16", Layout::kDense16},
                                 {"tile4", Layout::kTile4},
                                 {"tile8", Layout::kTile8},
                                 {"csr", Layout::kCsr}});
}

WeightType NamedType(std::string_view name) {
  return Named<3, WeightType>(name, {{"float32", WeightType::kFloat32},
                                     {"bfloat16", WeightType::kBFloat16},
                                     {"int8", WeightType::kInt8}});
}

// A copy of an array as whole lines of 64 bytes, filled up with one value.
template <typename T>
class Lines {
 public:
  Lines(const T* values, std::size_t n, T filler)
      : n_((n * sizeof(T) + 63) / 64 * 64 / sizeof(T)), buffer_(n_ * sizeof(T)) {
    std::copy_n(values, n, buffer_.As<T>());
    std::fill(buffer_.As<T>() + n, buffer_.As<T>() + n_, filler);
  }
  std::span<const T> View() const { return {buffer_.As<T>(), n_}; }

 private:
  std::size_t n_;
  Buffer buffer_;
};

struct Segment {
  Lines<std::uint32_t> starts;
  Lines<std::uint16_t> columns;
  Lines<std::byte> values;
  Piece piece;
};

using Starts = Array<const std::uint32_t, -1>;
using Columns = Array<const std::uint16_t, -1>;
using Values = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using SegmentArrays = std::tuple<std::optional<Starts>, std::optional<Columns>, Values>;

nb::dlpack::dtype TypeInArrays(WeightType type) {
  switch (type) {
    case WeightType::kFloat32: return nb::dtype<float>();
    case WeightType::kBFloat16: return nb::dtype<std::uint16_t>();
    case WeightType::kInt8: return nb::dtype<std::int8_t>();
  }
  throw std::invalid_argument("there is no such type");
}

Segment Checked(const SegmentArrays& arrays, Layout layout, WeightType type, std::size_t strips,
                std::size_t n_columns) {
  const auto& [starts, columns, values] = arrays;
  if (values.dtype() != TypeInArrays(type)) {
    throw nb::type_error("`values` must be float32, uint16 (the bits of bfloat16) or int8, as the type says");
  }
  const std::uint32_t last = starts && starts->size() > 0 ? starts->data()[starts->size() - 1] : 0;
  Segment segment{
      starts ? Lines<std::uint32_t>(starts->data(), starts->size(), last) : Lines<std::uint32_t>(nullptr, 0, 0),
      columns ? Lines<std::uint16_t>(columns->data(), columns->size(), 0) : Lines<std::uint16_t>(nullptr, 0, 0),
      Lines<std::byte>(static_cast<const std::byte*>(values.data()), values.nbytes(), std::byte{0}),
      {}};
  const PieceArrays views{layout, type, segment.starts.View(), segment.columns.View(),
                          segment.values.View()};
  segment.piece = CheckPiece(views, {16 * strips, n_columns, 1}, Finiteness::kChecked);
  return segment;
}

// A sum of segments times inputs, by one instruction set. Inputs come and results go in rows.
class Product {
 public:
  Product(std::string_view isa, std::string_view layout, std::string_view type, std::size_t strips,
          std::size_t n_columns, const std::vector<SegmentArrays>& segments,
          const std::optional<Array<const float, -1>>& row_scales)
      : kernels_(NamedKernels(isa)), type_(NamedType(type)), rows_(16 * strips), n_columns_(n_columns) {
    const Layout named = NamedLayout(layout);
    for (const SegmentArrays& arrays : segments) {
      segments_.push_back(Checked(arrays, named, type_, strips, n_columns));
    }
    if (type_ != WeightType::kInt8) return;
    if (!row_scales || row_scales->size() != rows_) {
      throw std::invalid_argument("int8 needs `row_scales`, one for each of the " +
                                  std::to_string(rows_) + " rows");
    }
    row_scales_.assign(row_scales->data(), row_scales->data() + rows_);
    std::vector<std::int32_t> row_sums(rows_);
    for (const Segment& segment : segments_) AddRowSums(segment.piece, row_sums);
    for (const std::int32_t sum : row_sums) beginnings_.push_back(-kernels_.input_offset * sum);
  }

  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  using Inputs = Array<const float, -1, -1>;

  // With `x_scale`, all streams have that scale in int8, and not each its own.
  nb::object Multiply(const Inputs& x, bool wide, std::optional<float> x_scale) const {
    std::vector<float> result;
    {
      const nb::gil_scoped_release release;
      Run run(*this, x, wide, x_scale);
      run.Begin();
      run.Multiply();
      result = run.Result();
    }
    return NewArray(std::move(result), {x.shape(0), rows_});
  }

  nb::object Sums(const Inputs& x, bool wide, std::optional<float> x_scale) const {
    if (type_ != WeightType::kInt8) throw std::invalid_argument("only int8 has sums");
    std::vector<std::int32_t> sums;
    {
      const nb::gil_scoped_release release;
      Run run(*this, x, wide, x_scale);
      run.Begin();
      run.Multiply();
      sums = run.InRows(run.SumsOf<std::int32_t>());
    }
    return NewArray(std::move(sums), {x.shape(0), rows_});
  }

  std::vector<double> Time(const Inputs& x, bool wide, std::size_t calls) const {
    const nb::gil_scoped_release release;
    Run run(*this, x, wide, std::nullopt);
    std::vector<double> seconds;
    for (std::size_t i = 0; i < calls; ++i) {
      run.Begin();
      const auto begin = std::chrono::steady_clock::now();
      run.Multiply();
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return seconds;
  }

 private:
  // One multiplication: packed inputs and sums in either form.
  class Run {
   public:
    Run(const Product& product, const Inputs& x, bool wide, std::optional<float> x_scale)
        : product_(product),
          n_(x.shape(0)),
          wide_(wide),
          padded_((n_ + 15) / 16 * 16),
          stride_(PackedStride(wide ? padded_ : n_)),
          packed_(PackedBytes(product.type_, product.n_columns_, stride_)),
          sums_(padded_ * product.rows_ * sizeof(float)) {
      if (x.shape(1) != product.n_columns_) {
        throw std::invalid_argument("`x` has " + std::to_string(x.shape(1)) + " columns; the matrix has " +
                                    std::to_string(product.n_columns_));
      }
      std::vector<float> inverse_scales;
      for (std::size_t b = 0; b < n_; ++b) {
        const float largest = product.kernels_.max_abs(x.data() + b * x.shape(1), x.shape(1));
        const float inverse = largest > 0.0F ? 127.0F / largest : 0.0F;
        scales_.push_back(x_scale.value_or(largest / 127.0F));
        inverse_scales.push_back(x_scale ? 1.0F / *x_scale : inverse);
      }
      Pack(x.data(), inverse_scales);
    }

    void Begin() {
      auto* sums = SumsOf<float>();
      std::fill(sums, sums + padded_ * product_.rows_, 0.0F);
      if (product_.type_ != WeightType::kInt8) return;
      for (std::size_t b = 0; b < n_; ++b) {
        for (std::size_t i = 0; i < product_.rows_; ++i) {
          SumsOf<std::int32_t>()[Place(b, i)] = product_.beginnings_[i];
        }
      }
    }

    void Multiply() {
      const auto type = static_cast<std::size_t>(product_.type_);
      const Kernels& kernels = product_.kernels_;
      const auto multiply = wide_ ? kernels.multiply_wide[type] : kernels.multiply_rows[type];
      for (const Segment& segment : product_.segments_) {
        multiply(segment.piece, 0, segment.piece.strips, packed_.As<std::byte>(), stride_,
                 sums_.As<std::byte>(), wide_ ? padded_ : product_.rows_, wide_ ? padded_ : n_);
      }
    }

    std::vector<float> Result() const {
      if (product_.type_ != WeightType::kInt8) return InRows(SumsOf<float>());
      const std::size_t rows = product_.rows_;
      const Buffer y(padded_ * rows * sizeof(float));
      const auto* sums = SumsOf<std::int32_t>();
      if (wide_) {
        product_.kernels_.add_scaled_wide(sums, padded_, product_.row_scales_.data(), scales_.data(),
                                          y.As<float>(), padded_, rows, n_);
      } else {
        for (std::size_t b = 0; b < n_; ++b) {
          product_.kernels_.add_scaled_rows(sums + b * rows, product_.row_scales_.data(), scales_[b],
                                            y.As<float>() + b * rows, rows);
        }
      }
      return InRows(y.As<float>());
    }

    template <typename T>
    T* SumsOf() const {
      return sums_.As<T>();
    }

    template <typename T>
    std::vector<T> InRows(const T* values) const {
      std::vector<T> rows;
      rows.reserve(n_ * product_.rows_);
      for (std::size_t b = 0; b < n_; ++b) {
        for (std::size_t i = 0; i < product_.rows_; ++i) rows.push_back(values[Place(b, i)]);
      }
      return rows;
    }

   private:
    std::size_t Place(std::size_t b, std::size_t row) const {
      return wide_ ? row * padded_ + b : b * product_.rows_ + row;
    }

    // In wide form by way of a transposition, so that both ways of packing are used.
    void Pack(const float* x, const std::vector<float>& inverse_scales) {
      const auto type = static_cast<std::size_t>(product_.type_);
      const Kernels& kernels = product_.kernels_;
      const std::size_t columns = product_.n_columns_;
      if (!wide_) {
        kernels.pack_rows[type](x, columns, columns, n_, inverse_scales.data(), packed_.As<void>(), stride_);
        return;
      }
      const Buffer transposed(columns * padded_ * sizeof(float));
      kernels.transpose(x, columns, n_, columns, transposed.As<float>(), padded_, padded_);
      kernels.pack_wide[type](transposed.As<float>(), padded_, columns, n_, inverse_scales.data(),
                              packed_.As<void>(), stride_);
    }

    const Product& product_;
    std::size_t n_;
    bool wide_;
    std::size_t padded_;
    std::size_t stride_;
    Buffer packed_;
    Buffer sums_;
    std::vector<float> scales_;
  };

  const Kernels& kernels_;
  WeightType type_;
  std::size_t rows_;
  std::size_t n_columns_;
  std::vector<Segment> segments_;
  std::vector<float> row_scales_;
  std::vector<std::int32_t> beginnings_;  // of the sums, by row
};

}  // namespace

void BindProducts(nb::module_& module) {
  using nb::arg;
  nb::class_<Product>(module, "Product", "A sum of segments of weights, times inputs.")
      .def(nb::init<std::string_view, std::string_view, std::string_view, std::size_t, std::size_t,
                    const std::vector<SegmentArrays>&, const std::optional<Array<const float, -1>>&>(),
           arg("isa"), arg("layout"), arg("type"), arg("strips"), arg("n_columns"), arg("pieces"),
           arg("row_scales").none() = nb::none())
      .def("multiply", &Product::Multiply, arg("x").noconvert(), nb::kw_only(), arg("wide"),
           arg("x_scale").none() = nb::none(), "float32 (n, 16 * strips): x (n, n_columns) times the matrix.")
      .def("sums", &Product::Sums, arg("x").noconvert(), nb::kw_only(), arg("wide"),
           arg("x_scale").none() = nb::none(), "int32 (n, 16 * strips): the sums of products of codes.")
      .def("time", &Product::Time, arg("x").noconvert(), nb::kw_only(), arg("wide"), arg("calls"),
           "Seconds of each call: the products alone, without packing and clearing.");
}

}  // namespace sparrot
