#include "training/lattice_kernels.h"

namespace sparrot {

const LatticeKernels& LatticeKernelsFor([[maybe_unused]] std::string_view isa) {
#if defined(__x86_64__)
  if (isa.starts_with("avx512")) return kAvx512LatticeKernels;
  if (isa == "avx2") return kAvx2LatticeKernels;
#endif
  return kBaselineLatticeKernels;
}

}  // namespace sparrot
