// What every processor of the architecture has.
#include <cstddef>
#include <cstdint>

#include "training/lattice_kernels.h"

namespace sparrot {
namespace {

#include "training/lattice_loops.h"

}  // namespace

const LatticeKernels kBaselineLatticeKernels{
    .name = "baseline",
    .float32 = {Normalise<float>, Descend<float>, Diverge<float>},
    .float64 = {Normalise<double>, Descend<double>, Diverge<double>},
    .advance = Advance,
    .retreat = Retreat,
    .occupy = Occupy,
};

}  // namespace sparrot
