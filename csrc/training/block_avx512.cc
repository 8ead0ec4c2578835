// AVX-512.
#include <cstddef>
#include <cstdint>

#include "layout/strips.h"
#include "training/block_kernels.h"

namespace sparrot {
namespace {

constexpr std::size_t kVectorLanes = 16, kLineVectors = 16;

#include "training/block_loops.h"

}  // namespace

const BlockKernels kAvx512BlockKernels{
    .name = "avx512",
    .multiply_back = MultiplyBack,
    .add_products = AddProducts,
    .new_cell = NewCell,
    .undo_cell = UndoCell,
    .multiply = Multiply,
};

}  // namespace sparrot
