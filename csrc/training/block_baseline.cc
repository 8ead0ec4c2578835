// What every processor of the architecture has.
#include <cstddef>
#include <cstdint>

#include "layout/strips.h"
#include "training/block_kernels.h"

namespace sparrot {
namespace {

constexpr std::size_t kVectorLanes = 4, kLineVectors = 8;

#include "training/block_loops.h"

}  // namespace

const BlockKernels kBaselineBlockKernels{
    .name = "baseline",
    .multiply_back = MultiplyBack,
    .add_products = AddProducts,
    .new_cell = NewCell,
    .undo_cell = UndoCell,
    .multiply = Multiply,
};

}  // namespace sparrot
