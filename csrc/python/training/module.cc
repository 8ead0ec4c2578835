#include "python/training/bindings.h"

NB_MODULE(_training, module) {
  sparrot::BindEdges(module);
  sparrot::BindLattice(module);
}
