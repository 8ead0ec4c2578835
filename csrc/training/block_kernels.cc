#include "training/block_kernels.h"

namespace sparrot {

const BlockKernels& BlockKernelsFor([[maybe_unused]] std::string_view isa) {
#if defined(__x86_64__)
  if (isa.starts_with("avx512")) return kAvx512BlockKernels;
  if (isa == "avx2") return kAvx2BlockKernels;
#endif
  return kBaselineBlockKernels;
}

}  // namespace sparrot
