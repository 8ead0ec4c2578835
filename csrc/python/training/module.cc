#include "python/training/bindings.h"

NB_MODULE(_training, module) {
  nanobind::set_leak_warnings(false);  // what a caller keeps to the end, after Ctrl-C for one, is no leak
  sparrot::BindBlockLstm(module);
  sparrot::BindBlockMatrix(module);
  sparrot::BindEdges(module);
  sparrot::BindHalfShrink(module);
  sparrot::BindLattice(module);
}
